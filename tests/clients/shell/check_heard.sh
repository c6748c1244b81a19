#!/bin/bash
# A test author's check of what was heard, with nothing but busctl. Exit 0: all is as it should be.
set -euo pipefail

ID=check-$$
call() { # METHOD SIGNATURE ARGUMENTS…: a one-liner of the Manager; busctl gives up after 25 s unless told otherwise
  busctl --user --timeout=60 call org.utterd.Utterd1 /org/utterd/Utterd1 org.utterd.Utterd1.Manager "$@"
}
expect() { # WHAT ANSWER PATTERN
  case $2 in
    $3) echo "ok: $1" ;;
    *) echo "wrong: $1"; echo "  answer: $2"; exit 1 ;;
  esac
}

# busctl leaves the bus after each call, so the session must outlive it: lifetime "persistent" (the default) and an end of our own.
call OpenSession 'sa{sv}' "$ID" 0 > /dev/null
trap 'call CloseSession "sa{sv}" "$ID" 0 > /dev/null' EXIT

# Say answers "t 17"; Wait returns when that utterance was heard, with its outcome and its report.
TEXT='Mind the gap.'
read -r _ UTTERANCE < <(call Say 'ssa{sv}' "$ID" "$TEXT" 1 tag s gap)
expect 'the sentence was heard to its end' "$(call Wait 'sta{sv}' "$ID" "$UTTERANCE" 0)" "* \"completed\" *\"heard-text\" s \"$TEXT\"*"

# A cancel, and what the report says was heard.
read -r _ UTTERANCE < <(call Say 'ssa{sv}' "$ID" 'One two three four five six seven eight nine ten eleven twelve thirteen.' 0)
PENDING=$(call Wait 'sta{sv}' "$ID" "$UTTERANCE" 1 timeout-ms u 800)
expect 'it still speaks' "$PENDING" '* "pending" *'
REPORT=$(call Cancel 'sa{sv}' "$ID" 1 utterance t "$UTTERANCE")
expect 'it was cancelled' "$REPORT" '*"result" s "cancelled"*'
expect 'the report says what was heard' "$REPORT" '*"heard-text" s "One *'
expect 'and not the end, which nobody heard' "${REPORT##*thirteen*}" '?*'
expect 'and how long each stage took' "$REPORT" '*"silent-us" *'

# Asking again is no error: "already" for the finished one, "nothing" when nobody speaks.
expect 'a second cancel did nothing' "$(call Cancel 'sa{sv}' "$ID" 1 utterance t "$UTTERANCE")" '*"result" s "already"*'
expect 'nothing is left to cancel' "$(call Cancel 'sa{sv}' "$ID" 0)" '*"result" s "nothing"*'
expect 'nobody speaks' "$(busctl --user get-property org.utterd.Utterd1 "/org/utterd/Utterd1/session/check_2d$$" org.utterd.Utterd1.Session Speaking)" 'b false'
