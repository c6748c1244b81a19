//! Where a `speak` puts its audio and its marks.

use super::{Error, Result, Speak, Word};
use crate::abi::*;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

/// What a mark marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// The onset of a word.
    Word = UT_MARK_WORD as isize,
    /// The onset of a sentence.
    Sentence = UT_MARK_SENTENCE as isize,
    /// A shape of the mouth, by name.
    Viseme = UT_MARK_VISEME as isize,
    /// A mark that the text itself set.
    Bookmark = UT_MARK_BOOKMARK as isize,
}

/// The sink of one `speak`. Every write may answer [`Error::Cancelled`]: return then.
pub struct AudioOut<'a> {
    sink: UtAudioSink,
    rate: u32,
    samples: u64,
    started: bool,
    lent: PhantomData<&'a ()>,
}

// SAFETY: the sink's functions may be called from any one thread of the plugin at a time, until `speak` returns; `&mut` and `'a` say just that,
// and `cancelled` is tagged [any].
unsafe impl Send for AudioOut<'_> {}

impl<'a> AudioOut<'a> {
    /// # Safety
    /// `sink` is as R3 and R5 describe it and stays valid for `'a`.
    pub(super) unsafe fn read(sink: *const UtAudioSink, req: &Speak<'a>) -> Option<Self> {
        // SAFETY: the caller's promise is ours.
        let sink = unsafe { read_sized(sink) }?;
        sink.write?;
        let rate = if req.out_rate_hint == 0 { 48_000 } else { req.out_rate_hint };
        Some(Self {
            sink,
            rate,
            samples: 0,
            started: false,
            lent: PhantomData,
        })
    }

    /// The sample rate of what follows; the host's hint until it is set. Before the first write only.
    pub fn set_rate(&mut self, rate: u32) -> Result<()> {
        if self.started && rate != self.rate {
            return Err(Error::Backend("the sample rate cannot change in mid-speech".into()));
        }
        self.rate = rate;
        Ok(())
    }

    /// The sample rate.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Samples written so far: where the next one stands, and where [`AudioOut::word`] puts its mark.
    pub fn position(&self) -> u64 {
        self.samples
    }

    /// Mono samples, full scale ±1.0. May block at the look-ahead bound if the plugin is concurrent.
    pub fn write(&mut self, mono: &[f32]) -> Result<()> {
        self.write_raw(UT_PCM_F32, 1, mono.len(), mono.as_ptr().cast())
    }

    /// Mono samples of 16 bits.
    pub fn write_i16(&mut self, mono: &[i16]) -> Result<()> {
        self.write_raw(UT_PCM_S16, 1, mono.len(), mono.as_ptr().cast())
    }

    fn write_raw(&mut self, format: u32, channels: u32, n: usize, data: *const std::ffi::c_void) -> Result<()> {
        let Some(write) = self.sink.write else {
            return Err(Error::Cancelled);
        };
        self.started = true;
        let Ok(n) = u32::try_from(n) else {
            return Err(Error::Backend("more than 2^32 samples in one write".into()));
        };
        let pcm = UtPcm {
            size: UtPcm::V1,
            format,
            rate: self.rate,
            channels,
            n,
            flags: 0,
            data,
        };
        // SAFETY: `pcm` and the samples it points to live through the call; the sink is valid for `'a` and we are inside `speak`.
        match unsafe { write(self.sink.ctx, &raw const pcm) } {
            UT_OK => {
                self.samples += u64::from(n);
                Ok(())
            }
            UT_CANCELLED => Err(Error::Cancelled),
            code => Err(Error::Backend(format!("the host refused audio (code {code})"))),
        }
    }

    /// Marks a word of the text at the next sample.
    pub fn word(&mut self, word: &Word<'_>) -> Result<()> {
        self.mark(MarkKind::Word, self.samples, word.offset, word.text.len(), "")
    }

    /// A mark at `sample` over `len` bytes of the text at `offset`. In order of samples; may run ahead of the audio.
    pub fn mark(&mut self, kind: MarkKind, sample: u64, offset: usize, len: usize, name: &str) -> Result<()> {
        let Some(mark) = self.sink.mark else {
            return Ok(());
        };
        let place = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let it = UtMark {
            size: UtMark::V1,
            kind: kind as u32,
            sample,
            text_off: place(offset),
            text_len: place(len),
            flags: 0,
            pad: 0,
            name: UtStr::new(name),
        };
        // SAFETY: `it` and `name` live through the call; the sink is valid for `'a` and we are inside `speak`.
        match unsafe { mark(self.sink.ctx, &raw const it) } {
            UT_CANCELLED => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Whether the host wants no more of it.
    pub fn cancelled(&self) -> bool {
        // SAFETY: the sink is valid for `'a`; `cancelled` is tagged [any].
        self.sink.cancelled.is_some_and(|asked| unsafe { asked(self.sink.ctx) } != 0)
    }

    /// Readable once cancelled: poll it beside a socket. `None` if the host lends none.
    pub fn cancel_fd(&self) -> Option<BorrowedFd<'a>> {
        // SAFETY: the host keeps the descriptor open until `speak` returns, which `'a` does not outlive.
        (self.sink.cancel_fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(self.sink.cancel_fd) })
    }
}
