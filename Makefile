# One-liners; anything with an `if` is a program in tests/src/bin or a script beside it.
CARGO ?= cargo
DESTDIR ?=
PREFIX ?= /usr

CORPUS ?= target/corpus

.PHONY: build check test demo try fences bench bench-peers bench-bargein corpus install boot-test soak hear setup

build: ; $(CARGO) build --release --workspace
setup: ; @tests/setup
check: ; $(CARGO) fmt --all --check && $(CARGO) clippy --workspace --all-targets -- -D warnings && RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
demo: setup ; $(CARGO) build --workspace && $${CARGO_TARGET_DIR:-target}/debug/demo
# On a desktop with sound: it reads aloud, you talk over it.
try: setup ; $(CARGO) build --workspace && $${CARGO_TARGET_DIR:-target}/debug/try
test: setup check ; tests/run
# A thousand operations of eight clients, alone and on one loudspeaker, and a thousand cancels with a Say behind them: three minutes.
soak: setup ; $(CARGO) build --workspace && $(CARGO) run -q -p utterd-tests --bin soak
# Half an hour, in real time: an agent in a room with its echo, hold music and coughs, and people who interrupt it (with a corpus: its voices).
hear: setup ; $(CARGO) build --release --workspace && $(CARGO) run -q --release -p utterd-tests --bin hear -- --corpus $(CORPUS)
fences: setup ; $(CARGO) run -q -p utterd-tests --bin fences
bench: setup ; $(CARGO) build --release --workspace && $(CARGO) run -q --release -p utterd-tests --bin bench
bench-peers: setup ; $(CARGO) build --release --workspace && $(CARGO) run -q --release -p utterd-tests --bin peers
# Human voices for detectors, from Debian's packages (ffmpeg, espeak-ng, flite and 800 MB needed); once.
corpus: ; tests/scenarios/corpus/fetch $(CORPUS)
bench-bargein: corpus ; $(CARGO) run -q --release -p utterd-scenarios --features peers --bin bench-bargein -- $(CORPUS) --svg target/bench-bargein.svg
# Under sudo the build is still the caller's: root has neither their Rust nor business in their target folder.
install:
	$(if $(SUDO_USER),sudo -iu $(SUDO_USER)) $(MAKE) -C "$(CURDIR)" build
	systemd/install "$(DESTDIR)" "$(PREFIX)"
# A real systemd, in a container: needs root, mmdebstrap and systemd-container; says so.
boot-test: setup ; $(CARGO) build --workspace && $(CARGO) run -q -p utterd-tests --bin boot
