//! libespeak-ng, the process-wide singleton, behind one lock.
//!
//! It wants a UTF-8 locale and sets the process's own at its start; a daemon's locale is nobody's to change (R11). So the old one is put back,
//! and each call runs under a locale of its thread. Not here: what a request means (`voices.rs`, `text.rs`).

use crate::ffi;
use crate::voices::{Entry, Voices};
use std::ffi::{CStr, CString, c_char, c_int, c_short, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};
use utterd_plugin_api::prelude::*;

/// Samples come in blocks of this many milliseconds: what a cancel may still cost.
const BLOCK_MS: c_int = 20;

static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);

/// The `Call` of the synthesis that runs, or NULL. The library hands a `user_data` around too, but promises it nowhere for an empty list of events.
static CALL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// The initialised library.
pub(crate) struct Engine {
    pub(crate) voices: Voices,
    pub(crate) rate: u32,
    /// Set now; setting one reads files.
    voice: String,
    locale: Locale,
}

/// What one synthesis hands to the library.
pub(crate) struct Job<'a> {
    /// NUL-terminated.
    pub(crate) c_text: &'a [u8],
    /// The library's name of the voice.
    pub(crate) voice: &'a str,
    /// Words a minute, 80 to 450.
    pub(crate) wpm: i32,
    /// 0 to 100.
    pub(crate) pitch: i32,
    /// 0 to 100.
    pub(crate) pitch_range: i32,
    /// In units of 10 ms at the normal rate.
    pub(crate) word_gap: i32,
    /// Ends with the pause that follows a sentence.
    pub(crate) end_pause: bool,
}

/// A block of audio and the events in it; `false` ends the synthesis.
pub(crate) type OnBlock<'a> = dyn FnMut(&[i16], &[Heard]) -> bool + 'a;

/// An event of interest.
pub(crate) struct Heard {
    pub(crate) sentence: bool,
    /// Characters, from 1 on.
    pub(crate) position: i32,
    pub(crate) length: i32,
    pub(crate) sample: u64,
}

/// libespeak-ng creates an audio device even where it is never to play, and libpcaudio then starts a thread that connects to PulseAudio: a plugin
/// that opens the loudspeaker. The dynamic linker asks the library that was opened (this one) before that library's own dependencies, so this is
/// what libespeak-ng gets: no device, which libpcaudio's functions accept.
#[unsafe(no_mangle)]
unsafe extern "C" fn create_audio_device_object(_: *const c_char, _: *const c_char, _: *const c_char) -> *mut c_void {
    std::ptr::null_mut()
}

/// Runs `f` with the library, initialising it if need be. Waits for its turn.
pub(crate) fn with<T>(data_dir: Option<&Path>, f: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
    // A panic inside leaves the library between two requests or in one that the next call replaces: there is nothing to poison.
    let mut slot = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() {
        *slot = Some(Engine::start(data_dir)?);
    }
    match slot.as_mut() {
        Some(engine) => f(engine),
        None => Err(Error::Backend("espeak-ng did not start".into())),
    }
}

impl Engine {
    fn start(data_dir: Option<&Path>) -> Result<Self> {
        let path = data_dir.map(data_path).transpose()?;
        let locale = Locale::new()?;
        let _inside = locale.enter();
        let before = process_ctype();
        let mut context: *mut c_void = std::ptr::null_mut();
        let mut status = {
            // SAFETY: NULL or a C string that lives through the call; the library copies it. The lock is held.
            unsafe { ffi::espeak_ng_InitializePath(path.as_ref().map_or(std::ptr::null(), |p| p.as_ptr())) };
            // SAFETY: a NULL context, to be filled or left; the lock is held.
            unsafe { ffi::espeak_ng_Initialize(&raw mut context) }
        };
        restore_ctype(before.as_deref());
        if !context.is_null() {
            // SAFETY: the library made it and frees it.
            unsafe { ffi::espeak_ng_ClearErrorContext(&raw mut context) };
        }
        if status == ffi::ENS_OK {
            // SAFETY: initialised above; no device.
            status = unsafe { ffi::espeak_ng_InitializeOutput(ffi::ENOUTPUT_MODE_SYNCHRONOUS, BLOCK_MS, std::ptr::null()) };
        }
        let missing = |what: &str| Error::Config(format!("{what}; is its data installed? (Debian: apt-get install espeak-ng-data)"));
        if status != ffi::ENS_OK {
            return Err(missing(&format!("espeak-ng does not start: {}", words_of(status))));
        }
        // SAFETY: initialised; a plain function pointer.
        unsafe { ffi::espeak_SetSynthCallback(on_block) };
        // SAFETY: initialised.
        let rate = unsafe { ffi::espeak_ng_GetSampleRate() };
        let voices = Voices {
            entries: list_voices(),
            variants: list_variants(),
        };
        let (Ok(rate @ 4_000..=192_000), false) = (u32::try_from(rate), voices.entries.is_empty()) else {
            return Err(missing("espeak-ng has no voices"));
        };
        drop(_inside);
        Ok(Self {
            voices,
            rate,
            voice: String::new(),
            locale,
        })
    }

    /// Speaks; blocks. `on` gets the audio in blocks of 20 ms with the events that fall into each or soon after.
    pub(crate) fn speak(&mut self, job: &Job<'_>, on: &mut OnBlock<'_>) -> Result<()> {
        let _inside = self.locale.enter();
        if self.voice != job.voice {
            let name = CString::new(job.voice).map_err(|_| Error::NoVoice(format!("no such voice: {:?}", job.voice)))?;
            // SAFETY: a C string that lives through the call; the lock is held (`&mut self` lives in it).
            let status = unsafe { ffi::espeak_ng_SetVoiceByName(name.as_ptr()) };
            if status != ffi::ENS_OK {
                self.voice.clear();
                return Err(Error::NoVoice(format!(
                    "espeak-ng cannot load {:?}: {}",
                    job.voice,
                    words_of(status)
                )));
            }
            self.voice = job.voice.to_owned();
        }
        // All of them each time: the library keeps what the last request set.
        for (parameter, value) in [
            (ffi::PARAM_RATE, job.wpm),
            (ffi::PARAM_PITCH, job.pitch),
            (ffi::PARAM_RANGE, job.pitch_range),
            (ffi::PARAM_WORD_GAP, job.word_gap),
        ] {
            // SAFETY: numbers only.
            let status = unsafe { ffi::espeak_ng_SetParameter(parameter, value, 0) };
            if status != ffi::ENS_OK {
                return Err(Error::Argument(format!("espeak-ng refuses a parameter: {}", words_of(status))));
            }
        }
        if job.c_text.last() != Some(&0) {
            return Err(Error::Backend("a text without its end".into()));
        }
        let mut call = Call { on, panicked: None };
        let flags = ffi::CHARS_UTF8 | if job.end_pause { ffi::ENDPAUSE } else { 0 };
        CALL.store((&raw mut call).cast(), Ordering::Release);
        // SAFETY: the text ends with a NUL and lives through the call; synchronous mode calls `on_block` on this thread only, before it returns,
        // so `call` outlives every use of the pointer, which is cleared right below.
        let status = unsafe {
            ffi::espeak_ng_Synthesize(
                job.c_text.as_ptr().cast(),
                job.c_text.len(),
                0,
                ffi::POS_CHARACTER,
                0,
                flags,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        CALL.store(std::ptr::null_mut(), Ordering::Release);
        if let Some(payload) = call.panicked {
            std::panic::resume_unwind(payload);
        }
        match status {
            ffi::ENS_OK | ffi::ENS_SPEECH_STOPPED => Ok(()),
            status => Err(Error::Backend(format!("espeak-ng: {}", words_of(status)))),
        }
    }
}

/// What `CALL` points to during a synthesis.
struct Call<'a, 'b> {
    on: &'a mut OnBlock<'b>,
    panicked: Option<Box<dyn std::any::Any + Send>>,
}

unsafe extern "C" fn on_block(wav: *mut c_short, n: c_int, events: *mut ffi::Event) -> c_int {
    if events.is_null() {
        return 0;
    }
    let mut heard = Vec::new();
    let mut at = events;
    // SAFETY: the list ends with an event of type 0.
    unsafe {
        while (*at).kind != ffi::EVENT_LIST_TERMINATED {
            if matches!((*at).kind, ffi::EVENT_WORD | ffi::EVENT_SENTENCE) {
                heard.push(Heard {
                    sentence: (*at).kind == ffi::EVENT_SENTENCE,
                    position: (*at).text_position,
                    length: (*at).length,
                    sample: u64::try_from((*at).sample).unwrap_or(0),
                });
            }
            at = at.add(1);
        }
    }
    // SAFETY: NULL or the `Call` of the `speak` that is below us on this very stack, which does not touch it until we return.
    let call = unsafe { CALL.load(Ordering::Acquire).cast::<Call<'_, '_>>().as_mut() };
    let Some(call) = call else { return 0 };
    if call.panicked.is_some() {
        return 1;
    }
    let samples = match usize::try_from(n) {
        // SAFETY: the library says that `wav` holds `n` samples.
        Ok(n) if n > 0 && !wav.is_null() => unsafe { std::slice::from_raw_parts(wav, n) },
        _ => &[],
    };
    match catch_unwind(AssertUnwindSafe(|| (call.on)(samples, &heard))) {
        Ok(go_on) => c_int::from(!go_on),
        Err(payload) => {
            call.panicked = Some(payload);
            1
        }
    }
}

fn words_of(status: ffi::Status) -> String {
    let mut buf = [0; 256];
    // SAFETY: 256 writable bytes.
    unsafe { ffi::espeak_ng_GetStatusCodeMessage(status, buf.as_mut_ptr(), buf.len()) };
    let bytes: Vec<u8> = buf.iter().take_while(|b| **b != 0).map(|b| b.to_ne_bytes()[0]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The folder as the library wants it; it would silently fall back to its own if the data were not there.
fn data_path(dir: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt as _;
    if ![dir.join("phontab"), dir.join("espeak-ng-data/phontab")]
        .iter()
        .any(|p| p.is_file())
    {
        return Err(Error::Config(format!(
            "data-dir {}: no espeak-ng-data there (no phontab); install espeak-ng-data or leave data-dir out",
            dir.display()
        )));
    }
    CString::new(dir.as_os_str().as_bytes()).map_err(|_| Error::Config("data-dir holds a NUL".into()))
}

fn list_voices() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    each_voice(None, |voice| {
        // SAFETY: as `each_voice` says, the strings live while it runs.
        let (name, file, languages) = unsafe { (text(voice.name), text(voice.identifier), languages(voice.languages)) };
        let mut id = file.rsplit('/').next().unwrap_or_default().to_lowercase();
        if entries.iter().any(|e| e.id == id) {
            id = file.to_lowercase();
        }
        entries.push(Entry {
            id,
            name: name.trim().to_owned(),
            file,
            languages,
        });
    });
    entries
}

fn list_variants() -> Vec<String> {
    let mut variants = Vec::new();
    each_voice(Some(ffi::Voice::selector(c"variant")), |voice| {
        // SAFETY: as `each_voice` says.
        let file = unsafe { text(voice.identifier) };
        variants.extend(file.strip_prefix("!v/").map(str::to_owned));
    });
    variants
}

/// Calls `f` with each voice; what it points to lives until the next list.
fn each_voice(selector: Option<ffi::Voice>, mut f: impl FnMut(&ffi::Voice)) {
    let mut selector = selector;
    // SAFETY: NULL or a selector of ours; the library is initialised and its lock held.
    let mut at = unsafe { ffi::espeak_ListVoices(selector.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut)) };
    if at.is_null() {
        return;
    }
    // SAFETY: the list ends with NULL and lives until the next call to the library.
    unsafe {
        while let Some(voice) = (*at).as_ref() {
            f(voice);
            at = at.add(1);
        }
    }
}

/// # Safety
/// NULL or a C string.
unsafe fn text(s: *const c_char) -> String {
    if s.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(s) }.to_string_lossy().into_owned()
}

/// # Safety
/// NULL or a list as `ffi::Voice::languages` describes it.
unsafe fn languages(list: *const c_char) -> Vec<(u8, String)> {
    let mut found = Vec::new();
    let mut at = list;
    // SAFETY: each pair is a byte that is not zero and a C string; a zero byte ends the list.
    unsafe {
        while !at.is_null() && *at != 0 {
            let tag = CStr::from_ptr(at.add(1));
            found.push(((*at).to_ne_bytes()[0], tag.to_string_lossy().into_owned()));
            at = at.add(2 + tag.to_bytes().len());
        }
    }
    found.sort_by_key(|(priority, _)| *priority);
    found
}

fn process_ctype() -> Option<CString> {
    // SAFETY: NULL asks only; the answer is copied at once.
    let now = unsafe { libc::setlocale(libc::LC_CTYPE, std::ptr::null()) };
    // SAFETY: NULL or a C string.
    (!now.is_null()).then(|| unsafe { CStr::from_ptr(now) }.to_owned())
}

fn restore_ctype(before: Option<&CStr>) {
    if let Some(before) = before {
        // SAFETY: a C string that lives through the call. Only `create` comes here, on the host's control thread.
        unsafe { libc::setlocale(libc::LC_CTYPE, before.as_ptr()) };
    }
}

/// C.UTF-8, for one thread at a time.
struct Locale(libc::locale_t);

// SAFETY: an immutable object of libc, never freed here; any thread may use it.
unsafe impl Send for Locale {}

impl Locale {
    fn new() -> Result<Self> {
        // SAFETY: a C string; no base.
        let made = unsafe { libc::newlocale(libc::LC_ALL_MASK, c"C.UTF-8".as_ptr(), std::ptr::null_mut()) };
        if made.is_null() {
            return Err(Error::Config(
                "the C.UTF-8 locale is missing (Debian: apt-get install libc-bin)".into(),
            ));
        }
        Ok(Self(made))
    }

    fn enter(&self) -> Inside {
        // SAFETY: a live locale; the old one is put back by `Inside`.
        Inside(unsafe { libc::uselocale(self.0) })
    }
}

/// Puts the thread's locale back.
struct Inside(libc::locale_t);

impl Drop for Inside {
    fn drop(&mut self) {
        // SAFETY: what `uselocale` answered on this thread.
        unsafe { libc::uselocale(self.0) };
    }
}
