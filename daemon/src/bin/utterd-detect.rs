//! `utterd-detect FILE.wav…`: what a detector makes of recordings. The work is in `utterd::offline`.

fn main() {
    utterd::spare_memory();
    // As in the daemon: plugins stay mapped, so no destructor of theirs may run.
    utterd::exit_now(utterd::offline::main())
}
