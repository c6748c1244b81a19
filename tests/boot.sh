#!/bin/bash
# Boots a Debian root folder with a systemd of its own and keeps it up while somebody holds our standard input open.
# usage: tests/boot.sh ROOTFS STAGE; ROOTFS stays as it is, STAGE is laid over it, all changes are lost at the end.
# Prints "leader PID" once PID 1 of the new system runs; `nsenter -t PID -a` enters it. Its console is in STAGE.console.
# Works also where our own PID 1 is no systemd, and without CAP_SYS_RESOURCE: nothing is registered anywhere, no limit is raised.
set -euo pipefail
rootfs=$1 stage=$2
console=$stage.console
: > "$console"

# A cgroup of the second version for the new system; next to a hybrid first version it lies one deeper.
if [ -z "${BOOT_CGROUP:-}" ]; then
  top=/sys/fs/cgroup; [ ! -d $top/unified ] || top=$top/unified
  export BOOT_CGROUP=$top/utterd-boot.$$
  mkdir "$BOOT_CGROUP"
  status=0
  unshare --mount --propagation private "$0" "$@" || status=$?
  for _ in $(seq 50); do # It empties as the last processes are reaped.
    find "$BOOT_CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
  done
  exit $status
fi

# From here on in a mount namespace of our own. nspawn wants a /run that is a tmpfs; the host's is none of its business.
mount -t tmpfs none /run
world=/run/utterd-boot
mkdir -m 755 $world
mount -t tmpfs -o mode=755 none $world
mkdir $world/upper $world/work $world/root
mount -t overlay -o "lowerdir=$rootfs,upperdir=$world/upper,workdir=$world/work" none $world/root
cp -a "$stage/." $world/root/
# What a container has no use for.
for unit in console-getty.service systemd-logind.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer; do
  ln -sf /dev/null "$world/root/etc/systemd/system/$unit"
done

(
  echo $BASHPID > "$BOOT_CGROUP/cgroup.procs"
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  # All capabilities: the unit asks for CAP_SYS_NICE and CAP_IPC_LOCK, as on a machine.
  exec systemd-nspawn --quiet --register=no --keep-unit --capability=all --machine=utterd-boot --directory=$world/root \
    --boot --console=read-only --kill-signal=SIGRTMIN+3 < /dev/null > "$console" 2>&1
) &
nspawn=$!
leader=
for _ in $(seq 600); do
  kill -0 $nspawn 2>/dev/null || { echo "systemd-nspawn ended:" >&2; tail -20 "$console" >&2; exit 1; }
  leader=$(cat /proc/$nspawn/task/$nspawn/children 2>/dev/null | tr -d ' ') || true
  [ -n "$leader" ] && [ -S "/proc/$leader/root/run/dbus/system_bus_socket" ] && break
  leader=
  sleep 0.1
done
[ -n "$leader" ] && echo "leader $leader" && cat > /dev/null

kill -TERM $nspawn # An orderly shutdown.
for _ in $(seq 200); do kill -0 $nspawn 2>/dev/null || break; sleep 0.1; done
[ -z "$leader" ] || kill -KILL "$leader" 2>/dev/null || true
wait $nspawn || true
[ -n "$leader" ] || { echo "the system did not come up within 60 s:" >&2; tail -20 "$console" >&2; exit 1; }
