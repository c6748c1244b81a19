//! `utterd-plugin-check FILE.so`: says what is wrong with a plugin. The work is in `utterd::plugins::check`.

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    std::process::exit(utterd::plugins::check::main(&args));
}
