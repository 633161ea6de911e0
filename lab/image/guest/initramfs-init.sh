#!/bin/busybox sh
# First program of the guest: loads drivers, finds the root file system by label, goes there.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    insmod "$module" || echo "initramfs: $module was refused"
done
tries=0
until root=$(findfs LABEL=bmroot 2>/dev/null); do
    tries=$((tries + 1))
    if [ $tries -gt 300 ]; then
        echo "initramfs: no disk with a file system labelled bmroot; these are here:"
        cat /proc/partitions
        exec sh
    fi
    usleep 50000
done
mount -t ext4 -o noatime "$root" /newroot || exec sh
mount --move /dev /newroot/dev
echo "$root" > /newroot/dev/.bootroot
umount /sys
umount /proc
exec switch_root /newroot /sbin/init
