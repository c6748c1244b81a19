//! Links the system's libespeak-ng; on Debian it comes with `apt-get install libespeak-ng-dev`.

fn main() {
    println!("cargo:rustc-link-lib=espeak-ng");
    println!("cargo:rerun-if-changed=build.rs");
}
