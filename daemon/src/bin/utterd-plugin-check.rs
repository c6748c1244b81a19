//! `utterd-plugin-check FILE.so`: says what is wrong with a plugin. The work is in `utterd::plugins::check`.

#[cfg(target_env = "gnu")]
#[path = "../plugins/count_alloc.rs"]
mod count_alloc;

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    #[cfg(target_env = "gnu")]
    let allocations: Option<fn() -> u64> = Some(count_alloc::calls);
    #[cfg(not(target_env = "gnu"))]
    let allocations: Option<fn() -> u64> = None;
    std::process::exit(utterd::plugins::check::main(&args, allocations));
}
