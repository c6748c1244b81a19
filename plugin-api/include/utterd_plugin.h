/* utterd_plugin.h - utterd's plugin ABI 1.0, DRAFT: frozen only when all three kinds have real plugins.
 * TTS and detector are complete; telephony is a draft within the draft. C99 to C17, C++11 to C++20. Licence: MIT OR Apache-2.0.
 *
 * A plugin is a shared library that exports `utterd_plugin_v1` (an UtEntry) and holds its manifest in ELF section .utterd.plugin:
 *   {"id":"my-tts","version":"1.0.0","abi":"1.0","kinds":["tts"],"panic":"none","wants":["network"],"license":"MIT"}
 * id: [a-z0-9-], at most 64 bytes. kinds: "tts", "detector", "telephony". panic: "caught" (ends at the boundary), "abort", "none".
 * The file belongs to root or to the user the daemon runs as, and nobody else may write to it. examples/hello.c is a complete one;
 * `utterd-plugin-check FILE.so` says what is wrong with yours.
 *
 * RULES (tested by `utterd-plugin-check` or CI)
 *  R1 One exported symbol, `utterd_plugin_v1`: the ABI major is in the symbol name; a wrong major fails at dlsym, no code runs.
 *  R2 The same manifest JSON stands in ELF section .utterd.plugin: id, version, abi, kinds, panic, wants - read WITHOUT dlopen.
 *  R3 Every struct that crosses by pointer starts with uint32_t size (= sizeof at build). Fields are only appended. A field exists iff
 *     offset+sizeof(field) <= size, and for functions also != NULL. Readers copy min(size) bytes into a zeroed local of their own
 *     type (a Rust &T to a shorter peer struct is UB). Writers fill only fields with offset+sizeof <= the receiver's size and never change
 *     size; a size below 1.0's is UT_EARG; unknown constants and flag bits are ignored. UtStr, UtEntry's head and UT_COMMON are frozen
 *     for ever (UT_COMMON stands at the head of every kind: new common functions come by get_extension). No arrays of growable structs.
 *  R4 Numbers only: uint32_t constants instead of enums, int32_t status, no bool, no bitfields, no long, no size_t in shared memory.
 *  R5 Nothing is freed across the boundary. Inputs are borrowed for the call; but the UtHost of create() and every UtStr or table that a function
 *     returns stay readable while the process lives. Host calls after destroy() are dropped. Outputs go into caller's buffers or callbacks.
 *  R6 Ids (u64), not pointers, name utterances, sessions, calls: an unknown or stale id is UT_ESTATE, never a crash; ids never repeat.
 *  R7 No unwinding crosses. No global last_error: UtErr is the caller's. Errors of [rt] functions are the return code alone.
 *  R8 Threads belong to the host. A plugin that starts its own joins them in destroy(). After destroy() returns nothing of the instance runs.
 *  R9 New features: first a draft extension "utterd.x-NAME/1" by get_extension(); when stable the id stays the same (CLAP's lesson).
 *  R10 The host promises: calls with one tag for one stream or call are serial; those with different tags of the same id may overlap; every synthesis is cancelled or
 *     ended before destroy(); destroy() only after all calls into the instance returned; create() and open() never on an [rt] thread; a plugin's code is never
 *     unmapped while the process lives. Host functions may be called from inside any plugin function.
 *  R11 Nothing process-wide is touched: signals, locale, cwd, umask, environment, rlimits, stdio, FP mode, fork without exec.
 * THREAD TAGS
 *  [setup]  control thread of the instance, one call at a time, may block up to the stated limit
 *  [worker] host-owned thread, may block; returns <= 100 ms after cancel
 *  [control] host's control thread, while [worker] and [rt] calls of the same id may run; may allocate and lock; returns in < 1 ms
 *  [rt]     real-time: no malloc/free, lock, file, sleeping syscall; one at a time per stream or call, OS thread may change. Never the JACK callback: no plugin code runs there.
 *  [any]    any thread, also [rt], concurrently; host side is wait-free
 */
#ifndef UTTERD_PLUGIN_H
#define UTTERD_PLUGIN_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#define UT_ABI_MAJOR 1
#define UT_ABI_MINOR 0
#define UT_MAGIC {'U','T','T','E','R','D','P','L'}   /* an initialiser: C++ refuses an unterminated string */
#define UT_EXPORT __attribute__((visibility("default")))

enum { UT_OK = 0, UT_CANCELLED = 1, UT_END = 2, UT_NEEDS_RESTART = 3, UT_TIMEOUT = 4,
       UT_EARG = -1, UT_EUNSUPPORTED = -2, UT_ECONFIG = -3, UT_EBACKEND = -4, UT_EPANIC = -5, UT_ESTATE = -6, UT_EBUSY = -7, UT_EAUTH = -8,
       UT_ENOVOICE = -9 /* no such voice; msg names it */ };

typedef struct UtStr { const uint8_t *ptr; uint64_t len; } UtStr;            /* UTF-8, no NUL needed */
typedef struct UtErr { uint32_t size; int32_t code; uint32_t retry_after_ms; uint32_t len; uint8_t msg[496]; } UtErr;
typedef struct UtTextOut { uint32_t size, flags; void *ctx; void (*write)(void *ctx, UtStr chunk); } UtTextOut;

/* ---- services of the host ------------------------------------------------------------------------------------------------ */
typedef struct UtHost {
  uint32_t size, abi_minor; void *ctx; UtStr name, version;
  void        (*log)(void *ctx, uint32_t level, uint64_t session, uint64_t utterance, UtStr target, UtStr msg); /* [any] ids 0 = none; level 1 error .. 5 trace; > 480 bytes cut; full ring = counted drop */
  uint32_t    (*log_level)(void *ctx);                                          /* [any] */
  uint32_t    (*metric_register)(void *ctx, uint32_t kind, UtStr name, UtStr unit, UtStr help); /* [setup] kind 1 counter 2 gauge 3 histogram; 0 = refused */
  void        (*metric)(void *ctx, uint32_t id, double value);                  /* [any] add / set / observe */
  void        (*health)(void *ctx, uint32_t state, int32_t code, UtStr msg);    /* [any] 0 ok 1 degraded 2 failed */
  uint64_t    (*now_ns)(void *ctx);                                             /* [any] CLOCK_MONOTONIC, same clock as every time stamp */
  int32_t     (*secret)(void *ctx, UtStr name, uint8_t *buf, uint32_t cap);     /* [setup] systemd credential; length or error; never in the config */
  int32_t     (*dir)(void *ctx, uint32_t which, uint8_t *buf, uint32_t cap);    /* [setup] 1 state 2 cache 3 models 4 the folder of the plugin */
  void        (*request)(void *ctx, uint32_t what);                             /* [any] 1 restart me 2 describe() changed */
  const void *(*get_extension)(void *ctx, UtStr id);                            /* [any] lives as long as the instance */
  void        (*cancel_ack)(void *ctx, uint64_t synthesis, int32_t status);     /* [any but rt] the server's answer to a cancel: OK (also 204, "already gone"), EBACKEND, TIMEOUT */
} UtHost;

/* ---- the entry ------------------------------------------------------------------------------------------------------------ */
typedef struct UtEntry {
  uint8_t magic[8]; uint32_t size, abi_minor; UtStr manifest;
  int32_t     (*init)(const UtHost *host, UtErr *err);   /* [setup] fast (<100 ms), no threads, no network; may be called again after deinit */
  void        (*deinit)(void);                           /* [setup] all instances destroyed; the library stays mapped */
  const void *(*get_factory)(UtStr kind);                /* [any] "utterd.tts/1" | "utterd.detector/1" | "utterd.telephony/1" | NULL */
} UtEntry;
UT_EXPORT extern const UtEntry utterd_plugin_v1;         /* declared here, or C++'s const gives it internal linkage and it is not exported */

/* ---- first fields of every kind -------------------------------------------------------------------------------------------- */
#define UT_COMMON \
  uint32_t size, flags; \
  UtStr       (*schema)(void);                                                                            /* [any] JSON Schema 2020-12; "x-secret", "x-reload":true per property */ \
  int32_t     (*create)(const UtHost *host, UtStr id, UtStr cfg_json, void **out, UtErr *err);            /* [setup <=10 s] cfg already valid against schema */ \
  void        (*destroy)(void *inst);                                                                     /* [setup <=2 s] first sends what cancel() queued, then joins its threads */ \
  int32_t     (*reconfigure)(void *inst, UtStr cfg_json, UtErr *err);                                     /* [setup] optional; UT_NEEDS_RESTART = make a new one */ \
  int32_t     (*describe)(void *inst, const UtTextOut *json);                                             /* [setup] what it has; of TTS see below */ \
  int32_t     (*probe)(void *inst, const UtTextOut *json, UtErr *err);                                    /* [worker] active health check (reach the server) */ \
  const void *(*get_extension)(void *inst, UtStr id);                                                     /* [setup] */

/* ---- TTS ------------------------------------------------------------------------------------------------------------------- */
enum { UT_PCM_F32 = 0, UT_PCM_S16 = 1 };
typedef struct UtPcm { uint32_t size, format, rate, channels, n, flags; const void *data; } UtPcm;   /* n samples per channel, interleaved, any n */
enum { UT_MARK_WORD = 1, UT_MARK_SENTENCE, UT_MARK_VISEME, UT_MARK_BOOKMARK };
typedef struct UtMark { uint32_t size, kind; uint64_t sample; uint32_t text_off, text_len, flags, pad; UtStr name; } UtMark; /* samples from the synthesis' start; text_off, text_len: BYTES of text plus chunks as received (espeak counts characters) */
typedef struct UtTextIn { uint32_t size, flags; void *ctx;
  int32_t (*next)(void *ctx, uint32_t timeout_ms, UtStr *chunk);                 /* [worker] more text of the same utterance: OK, END, TIMEOUT, CANCELLED; chunk lives until the next call */
} UtTextIn;
typedef struct UtAudioSink { uint32_t size, flags; void *ctx; int32_t cancel_fd; uint32_t pad; /* eventfd, readable once cancelled: poll() it beside your socket; host's; valid until speak() returns */
  int32_t (*write)(void *ctx, const UtPcm *pcm);                                 /* [worker] write and mark are serial, only before speak() returns; format, rate and channels constant; OK or CANCELLED (then return at once).
                                                                                    Blocks at the look-ahead bound for CONCURRENT backends only; others get one sentence per speak() and are never held up by playback. */
  int32_t (*mark)(void *ctx, const UtMark *mark);                                /* [worker] in order of sample; may run ahead of the audio */
  int32_t (*cancelled)(void *ctx);                                               /* [any] 0 / 1 */
} UtAudioSink;
enum { UT_SPEAK_SSML = 1, UT_SPEAK_PROTECTED = 2, UT_SPEAK_CACHEABLE = 4, UT_SPEAK_LAST = 8 /* the last piece of its utterance: no pause need follow */ };
typedef struct UtSpeakReq { uint32_t size, flags; uint64_t synthesis, utterance, session; /* synthesis: this request's own id, the one a server is told */ UtStr text, voice, lang; float rate, pitch, gain_db; uint32_t out_rate_hint;
  UtStr params_json; const UtTextIn *more; } UtSpeakReq;                         /* more == NULL: the text is complete */
/* text never holds a NUL unless a client sent one: drop or skip it. voice "" = the default one for lang. rate and pitch are factors, 1 = as the voice was made.
 * Speaking at out_rate_hint (0 = unknown) saves a resampler. An unknown voice is UT_ENOVOICE, never another voice. */
enum { UT_CANCEL_USER = 0, UT_CANCEL_BARGE_IN = 1, UT_CANCEL_SHUTDOWN = 2 };   /* reason of cancel(); unknown ones are to be taken for 0 */
/* describe() writes {"voices":[{"id":"en-us","name":"English (America)","languages":["en-us","en"],"sample-rate":22050,"word-timing":true}],
 * "default-voice":"en-us","cancel":"callback"}; cancel is how a running speak() is stopped: "verb" (a request of its own), "connection-close",
 * "callback" (its next write() answers CANCELLED), "process-kill" or "none". Unknown keys are ignored. */
enum { UT_TTS_CONCURRENT = 1, UT_TTS_STREAM_TEXT = 2, UT_TTS_MARKS = 4 };        /* flags */
typedef struct UtTts { UT_COMMON
  int32_t (*speak)(void *inst, const UtSpeakReq *req, const UtAudioSink *sink, UtErr *err); /* [worker] returns when the last sample is written */
  int32_t (*cancel)(void *inst, uint64_t synthesis, uint32_t reason);            /* [control] beside speak(); optional, idempotent; for a remote server: queue POST /cancel/<id>, then cancel_ack(); also for ids already delivered or ended */
  int32_t (*warmup)(void *inst, UtErr *err);                                     /* [worker] optional: load the model, open the connection */
} UtTts;

/* ---- barge-in detector ------------------------------------------------------------------------------------------------------ */
enum { UT_IN_AI_SPEAKING = 1, UT_IN_PROTECTED = 2, UT_IN_GAP = 4, UT_IN_MUTED = 8 };
typedef struct UtDetIn { uint32_t size, flags, n, rate; uint64_t t; const float *near_, *far_; int32_t far_delay; uint32_t lost; } UtDetIn; /* t: sample clock; far_ = what was really played (the mix after all lanes, or the call's TX), already shifted by far_delay samples (the host's estimate; a residual of +-60 ms may remain), NULL = unknown; UT_IN_GAP: realign; lost samples before this frame */
enum { UT_EV_SPEECH_START = 1, UT_EV_SPEECH_END = 2, UT_EV_BARGE_IN = 4, UT_EV_BACKCHANNEL = 8, UT_EV_TURN_END = 16, UT_EV_DTMF = 32, UT_EV_MACHINE = 64, UT_EV_HUMAN = 128, UT_EV_TONE = 256 };
/* While AI_SPEAKING: SPEECH_START = suspected, BARGE_IN = confirmed, BACKCHANNEL or SPEECH_END before it = false. */
typedef struct UtDetOut { uint32_t size, events; float prob, confidence; uint64_t t_event; uint32_t value, flags; /* events: a bit mask of edges, not levels; t_event may lie in the past: look-back */
  float *clean; uint32_t clean_n, pad; } UtDetOut;                               /* clean: host's buffer or NULL; echo-cancelled near, its delay stands in describe() */
enum { UT_DETS_ONE_STAGE = 1 };  /* flags of a stream: SPEECH_START alone cancels, so raise it only as sure as BARGE_IN that may not wait (policy cancel-at-once) */
typedef struct UtDetStream { uint32_t size, flags; uint64_t session; uint32_t rate, frame, max_us, pad; UtStr lang; } UtDetStream; /* frame: the most samples of one process(), and the usual number; max_us: time for one process(), 0 = unknown */
enum { UT_DET_HARD_RT = 1, UT_DET_NEEDS_FAR = 2, UT_DET_CLEANS = 4 };            /* HARD_RT: p99 < 200 us, proved by the checker, runs on the SCHED_FIFO RX worker; else on an ordinary one */
typedef struct UtDetector { UT_COMMON
  int32_t (*open)(void *inst, const UtDetStream *cfg, void **stream, UtErr *err);/* [setup] all memory is taken here */
  void    (*close)(void *stream);                                                /* [setup] */
  int32_t (*process)(void *stream, const UtDetIn *in, UtDetOut *out);            /* [rt] */
  void    (*reset)(void *stream);                                                /* [rt] as if just opened: another recording, another call */
} UtDetector;
/* describe() writes {"rates":[8000,16000,48000],"clean-delay-ms":0}; no rates = any. near_ and far_ are finite; far_ may be NULL; n may be any number
 * up to frame. UT_EV_SPEECH_END ends what UT_EV_SPEECH_START began, and its t_event is where the speech ended, not where that was sure. */

/* ---- telephony adapter ------------------------------------------------------------------------------------------------------- */
typedef struct UtFrame { uint32_t size, flags, format, rate, n, seq; uint64_t t, t_ns; const void *data; } UtFrame; /* flags 1 first 2 concealed 4 silence; t samples, t_ns arrival or due time */
enum { UT_CALL_RINGING = 1, UT_CALL_EARLY, UT_CALL_ANSWERED, UT_CALL_HELD, UT_CALL_RESUMED, UT_CALL_ENDED };
typedef struct UtCallInfo { uint32_t size, flags; UtStr remote_id, from, to, headers_json; uint32_t rate, frame_ms; } UtCallInfo;
typedef struct UtCallHost { uint32_t size, flags; void *ctx;                     /* given to start(); valid until destroy() */
  uint64_t (*new_call)(void *ctx);                                               /* [any but rt] an id for a call about to come in; store it, then incoming() */
  int32_t  (*incoming)(void *ctx, uint64_t call, const UtCallInfo *info);        /* [worker] OK, EBUSY = refuse; the answer comes by answer()/reject(), perhaps before this returns */
  void     (*state)(void *ctx, uint64_t call, uint32_t state, uint32_t cause, UtStr reason); /* [any but rt] ENDED exactly once, nothing after it */
  void     (*media)(void *ctx, uint64_t call, uint32_t rate, uint32_t frame_ms); /* [any but rt] the far end chose or changed the codec */
  void     (*played)(void *ctx, uint64_t call, uint64_t t);                      /* [any but rt] the far end played up to the mark at t (media streams that buffer) */
  void     (*dtmf)(void *ctx, uint64_t call, uint32_t ascii, uint32_t ms, uint64_t t); /* [any] */
  void     (*transfer)(void *ctx, uint64_t call, uint32_t sip_like_status);      /* [any but rt] */
  void     (*registration)(void *ctx, UtStr account, uint32_t up, UtStr reason); /* [any but rt] */
} UtCallHost;
typedef struct UtDial { uint32_t size, flags; uint64_t call; UtStr to, from, headers_json; uint32_t timeout_ms, pad; } UtDial; /* the host gives the id */
typedef struct UtTransfer { uint32_t size, flags; UtStr to; uint64_t with_call; } UtTransfer;  /* with_call != 0: attended */
typedef struct UtTelephony { UT_COMMON
  int32_t (*start)(void *inst, const UtCallHost *h, UtErr *err);                 /* [setup] listen / register */
  int32_t (*stop)(void *inst, uint32_t drain);                                   /* [setup] returns at once: no new calls; the host waits for ENDED of each, hangs up when time is up, then stop(0) */
  void    (*forget)(void *inst, uint64_t call);                                  /* [setup] nothing about this id runs or follows: free its state here, nowhere else */
  int32_t (*dial)(void *inst, const UtDial *d, UtErr *err);                      /* [setup] returns at once, progress by state() */
  int32_t (*answer)(void *inst, uint64_t call, UtErr *err);                      /* [setup] */
  int32_t (*reject)(void *inst, uint64_t call, uint32_t cause);                  /* [setup] */
  int32_t (*hangup)(void *inst, uint64_t call, uint32_t cause);                  /* [setup] idempotent */
  int32_t (*hold)(void *inst, uint64_t call, uint32_t on);                       /* [setup] optional */
  int32_t (*transfer)(void *inst, uint64_t call, const UtTransfer *t, UtErr *err); /* [setup] optional */
  int32_t (*dtmf)(void *inst, uint64_t call, UtStr digits, uint32_t ms, uint32_t gap_ms); /* [setup] optional */
  int32_t (*tx)(void *inst, uint64_t call, const UtFrame *f);                    /* [rt] due at t_ns on the slot thread (in the host child when isolated); encode, non-blocking send or queue for tx_end; EBUSY = congested: counted, not retried */
  int32_t (*rx)(void *inst, uint64_t call, UtFrame *f, void *buf);               /* [rt] right after tx, same tick: exactly n samples, concealed where missing; socket and jitter buffer are the adapter's */
  void    (*tx_end)(void *inst);                                                 /* [rt] optional: end of a slot (sendmmsg) */
  int32_t (*mark)(void *inst, uint64_t call, uint64_t t);                        /* [control] optional: ask the far end to confirm when it has played up to t */
  int32_t (*clear)(void *inst, uint64_t call);                                   /* [control] optional: drop what the far end has buffered (cancel), e.g. "clear", FLUSH_MEDIA */
  int32_t (*stats)(void *inst, uint64_t call, const UtTextOut *json);            /* [setup] optional: loss, jitter, rtt */
} UtTelephony;
#ifdef __cplusplus
}
#endif
#endif
