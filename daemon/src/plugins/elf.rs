//! Reads a plugin's file as bytes, to its end, before the dynamic loader may: a file cut short in a segment is a SIGBUS inside `dlopen`, and
//! another machine's a misleading "No such file". Gives the manifest without running any code. Pure.

use object::elf;
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, SectionIndex};
use utterd_plugin_api::abi::{UT_ABI_MAJOR, UT_SECTION};
use utterd_plugin_api::json::Manifest;

type Header = elf::FileHeader64<Endianness>;

/// No manifest is longer.
const MAX_MANIFEST: usize = 16 * 1024;

/// What a plugin's file says of itself, if it is one that can be mapped here.
pub(super) fn inspect(bytes: &[u8]) -> Result<Manifest, String> {
    if bytes.len() < 16 || bytes[..4] != elf::ELFMAG {
        return Err("not a shared library (no ELF header)".into());
    }
    if bytes[4] != elf::ELFCLASS64.0 {
        return Err("a 32-bit library; this daemon is a 64-bit one".into());
    }
    let cut = |e: object::Error| format!("a damaged or half-copied library: {e}");
    let header = Header::parse(bytes).map_err(cut)?;
    let endian = header.endian().map_err(cut)?;
    let machine = header.e_machine(endian);
    if machine != own_machine() || header.is_big_endian() != cfg!(target_endian = "big") {
        return Err(format!(
            "built for another machine (ELF machine {}; this one is {})",
            machine.0,
            own_machine().0
        ));
    }
    if header.e_type(endian) != elf::ET_DYN {
        return Err("an ELF file, but not a shared library; link it with -shared".into());
    }
    let segments = header.program_headers(endian, bytes).map_err(cut)?;
    for segment in segments {
        let (offset, size) = segment.file_range(endian);
        if offset.checked_add(size).is_none_or(|end| end > bytes.len() as u64) {
            return Err("half copied: a segment ends behind the end of the file; copy it again".into());
        }
    }
    if !segments.iter().any(|s| s.p_type(endian) == elf::PT_LOAD) {
        return Err("an ELF file with nothing to load".into());
    }
    let sections = header.sections(endian, bytes).map_err(cut)?;
    refuse_origin(header, endian, bytes)?;
    let (_, section): (SectionIndex, _) = sections
        .section_by_name(endian, UT_SECTION.as_bytes())
        .ok_or_else(|| format!("not an utterd plugin: no section {UT_SECTION} (a system library? stripped with its sections?)"))?;
    let text = section.data(endian, bytes).map_err(cut)?;
    parse_manifest(text)
}

/// The manifest, checked for what can be known without running anything.
pub(super) fn parse_manifest(text: &[u8]) -> Result<Manifest, String> {
    if text.len() > MAX_MANIFEST {
        return Err(format!("its manifest has {} bytes; {MAX_MANIFEST} are allowed", text.len()));
    }
    // Compilers may pad a section, and C authors may leave the NUL of their literal.
    let text = text.trim_ascii_end();
    let text = &text[..text.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)];
    let manifest: Manifest = serde_json::from_slice(text).map_err(|e| format!("its manifest is not as the ABI wants it: {e}"))?;
    match manifest.abi_major() {
        Some(UT_ABI_MAJOR) => {}
        Some(major) => {
            return Err(format!(
                "built for plugin ABI {major}; this daemon speaks {UT_ABI_MAJOR}: get another build"
            ));
        }
        None => {
            return Err(format!("its manifest names no ABI (\"abi\":{:?}; wanted \"1.0\")", manifest.abi));
        }
    }
    if !manifest.id_is_valid() {
        return Err(format!(
            "its id {:?} is not one: small letters, digits and -, 64 at most",
            manifest.id
        ));
    }
    Ok(manifest)
}

/// A private copy is alone in its folder, so what lies beside the original would not be found, or not the same.
fn refuse_origin(header: &Header, endian: Endianness, bytes: &[u8]) -> Result<(), String> {
    let damaged = |e: object::Error| format!("a damaged library: {e}");
    let table = header
        .sections(endian, bytes)
        .map_err(damaged)?
        .dynamic_table(endian, bytes)
        .map_err(damaged)?;
    for entry in table.dynamics() {
        let tag = entry.d_tag(endian);
        if tag != elf::DT_RUNPATH && tag != elf::DT_RPATH {
            continue;
        }
        let path = u32::try_from(entry.d_val(endian)).ok().and_then(|at| table.strings().get(at).ok());
        let path = path.ok_or("a damaged library: a run path outside of its strings")?;
        if path.windows(7).any(|w| w == b"$ORIGIN") || path.windows(9).any(|w| w == b"${ORIGIN}") {
            return Err(format!(
                "it looks for libraries beside itself (RUNPATH {}), but runs from a private copy; link them in, or install them system-wide",
                String::from_utf8_lossy(path)
            ));
        }
    }
    Ok(())
}

fn own_machine() -> elf::Machine {
    if cfg!(target_arch = "x86_64") {
        elf::EM_X86_64
    } else if cfg!(target_arch = "aarch64") {
        elf::EM_AARCH64
    } else if cfg!(target_arch = "riscv64") {
        elf::EM_RISCV
    } else {
        // Any other one: what this very program is.
        let mut head = [0; 20];
        let read = std::fs::File::open("/proc/self/exe").and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head));
        elf::Machine(if read.is_ok() {
            u16::from_ne_bytes([head[18], head[19]])
        } else {
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"id":"my-tts","version":"1.0","abi":"1.0","kinds":["tts"]}"#;

    #[test]
    fn junk_is_refused_with_a_reason() {
        for junk in [
            &b""[..],
            b"\x7fELF",
            b"hello, world, this is a text",
            &[0; 4096],
            b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(!inspect(junk).unwrap_err().is_empty());
        }
    }

    #[test]
    fn every_truncation_of_a_real_program_is_an_error_and_never_a_panic() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for n in (0..2_000).chain((2_000..own.len()).step_by(own.len() / 200)) {
            assert!(inspect(&own[..n]).is_err());
        }
        let mut spoilt = own;
        for n in 0..400 {
            spoilt[n % 64 + (n / 64) * 8] ^= 0xff;
            assert!(inspect(&spoilt).is_err());
        }
    }

    #[test]
    fn a_manifest_of_another_abi_or_with_a_strange_id_is_refused() {
        assert_eq!(parse_manifest(GOOD.as_bytes()).unwrap().id, "my-tts");
        assert_eq!(parse_manifest(format!("{GOOD}\n\0\0\0").as_bytes()).unwrap().id, "my-tts");
        for (from, to) in [
            ("\"1.0\",\"k", "\"2.0\",\"k"),
            ("\"1.0\",\"k", "\"one\",\"k"),
            ("my-tts", "../x"),
            ("my-tts", ""),
            ("tts\"]", "tts\""),
        ] {
            assert!(parse_manifest(GOOD.replace(from, to).as_bytes()).is_err(), "{from} -> {to}");
        }
        let newer = GOOD.replace("\"1.0\",\"k", "\"1.7\",\"wings\":2,\"k");
        assert!(parse_manifest(newer.as_bytes()).is_ok(), "a newer minor and unknown keys are fine");
    }
}
