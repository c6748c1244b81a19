/* hello.c - a complete TTS plugin in C: a beep of 200 ms for every word of the text.
 *
 *   cc -std=c99 -shared -fPIC -O2 -I ../include -o hello.so hello.c -lm
 *   utterd-plugin-check hello.so        (then copy it to a plugin folder)
 */
#include "utterd_plugin.h"
#include <math.h>
#include <string.h>

#define MANIFEST "{\"id\":\"hello\",\"version\":\"1.0.0\",\"abi\":\"1.0\",\"kinds\":[\"tts\"],\"panic\":\"none\",\"wants\":[],\"license\":\"MIT\"}"
#define STR(literal) { (const uint8_t *)(literal), sizeof(literal) - 1 }
#define RATE 16000
#define BLOCK 320 /* 20 ms: what a cancel may still cost */

/* The manifest once more where hosts find it without running any code. */
__attribute__((section(".utterd.plugin"), used)) static const char manifest[sizeof(MANIFEST) - 1] = MANIFEST;

static int instance; /* This plugin has no state; its instance only needs an address. */

static int32_t fail(UtErr *err, int32_t code, const char *words) {
  if (err && err->size >= sizeof(UtErr)) {
    err->code = code;
    err->len = (uint32_t)strlen(words);
    memcpy(err->msg, words, err->len);
  }
  return code;
}

static UtStr schema(void) {
  UtStr s = STR("{\"type\":\"object\",\"additionalProperties\":false}");
  return s;
}

static int32_t create(const UtHost *host, UtStr id, UtStr cfg_json, void **out, UtErr *err) {
  (void)host; (void)id; (void)cfg_json; (void)err;
  *out = &instance;
  return UT_OK;
}

static void destroy(void *inst) { (void)inst; }

static int32_t describe(void *inst, const UtTextOut *json) {
  UtStr s = STR("{\"voices\":[{\"id\":\"beep\",\"name\":\"Beep\",\"languages\":[],\"sample-rate\":16000,\"word-timing\":true}],"
                "\"default-voice\":\"beep\",\"cancel\":\"callback\"}");
  (void)inst;
  json->write(json->ctx, s);
  return UT_OK;
}

static int is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == 0; }

static int32_t beep(const UtAudioSink *sink, uint64_t start) {
  float block[BLOCK];
  uint32_t done, i;
  for (done = 0; done < RATE / 5; done += BLOCK) {
    UtPcm pcm;
    memset(&pcm, 0, sizeof pcm);
    for (i = 0; i < BLOCK; i++) block[i] = 0.3f * (float)sin(0.17 * (double)(start + done + i));
    pcm.size = sizeof pcm; pcm.format = UT_PCM_F32; pcm.rate = RATE; pcm.channels = 1; pcm.n = BLOCK; pcm.data = block;
    if (sink->write(sink->ctx, &pcm) != UT_OK) return UT_CANCELLED;
  }
  return UT_OK;
}

static int32_t speak(void *inst, const UtSpeakReq *req, const UtAudioSink *sink, UtErr *err) {
  uint64_t at = 0, sample = 0;
  (void)inst;
  if (req->voice.len != 0 && !(req->voice.len == 4 && memcmp(req->voice.ptr, "beep", 4) == 0))
    return fail(err, UT_ENOVOICE, "hello has one voice: \"beep\"");
  while (at < req->text.len) {
    uint64_t end;
    UtMark mark;
    if (is_space(req->text.ptr[at])) { at++; continue; }
    for (end = at; end < req->text.len && !is_space(req->text.ptr[end]);) end++;
    memset(&mark, 0, sizeof mark);
    mark.size = sizeof mark; mark.kind = UT_MARK_WORD; mark.sample = sample;
    mark.text_off = (uint32_t)at; mark.text_len = (uint32_t)(end - at);
    if (sink->mark(sink->ctx, &mark) == UT_CANCELLED || beep(sink, sample) != UT_OK) return UT_CANCELLED;
    sample += RATE / 5;
    at = end;
  }
  return UT_OK;
}

static const UtTts tts = { sizeof(UtTts), UT_TTS_CONCURRENT | UT_TTS_MARKS, schema, create, destroy, 0, describe, 0, 0, speak, 0, 0 };

static int32_t init(const UtHost *host, UtErr *err) { (void)host; (void)err; return UT_OK; }
static void deinit(void) {}
static const void *get_factory(UtStr kind) {
  return kind.len == 12 && memcmp(kind.ptr, "utterd.tts/1", 12) == 0 ? &tts : 0;
}

UT_EXPORT const UtEntry utterd_plugin_v1 = { UT_MAGIC, sizeof(UtEntry), UT_ABI_MINOR, STR(MANIFEST), init, deinit, get_factory };
