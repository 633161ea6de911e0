#!/bin/sh
# Runs once per boot, from inittab: mounts, network and user data from the NoCloud seed, then grows the root.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /run /tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs tmp /tmp
ip link set lo up
hostname "$(cat /etc/hostname)"
acpid -l /dev/null -p /run/acpid.pid
/usr/lib/lab/nocloud network
/usr/lib/lab/growroot
/usr/lib/lab/nocloud user-data
echo "guest: boot finished after $(cut -d' ' -f1 /proc/uptime) s"
