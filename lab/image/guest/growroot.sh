#!/bin/sh
# Grows the root partition and its file system to the end of the disk, when the disk is larger than the image.
root=$(cat /dev/.bootroot)
name=${root#/dev/}
partition=/sys/class/block/$name
disk=$(basename "$(readlink -f "$partition/..")")
number=$(cat "$partition/partition")
start=$(cat "$partition/start")
end=$((start + $(cat "$partition/size")))
total=$(cat "/sys/class/block/$disk/size")
# 34 sectors at the end belong to the second partition table; less than 1 MiB is not worth the writes.
[ $((total - end)) -gt $((2048 + 34)) ] || exit 0
echo ", +" | sfdisk -q --no-reread --no-tell-kernel --force -N "$number" "/dev/$disk" > /run/sfdisk.log 2>&1 || exit 1
size=$(sfdisk -q -d "/dev/$disk" 2> /dev/null | sed -n "s/.*start= *$start, size= *\([0-9]*\).*/\1/p")
resizepart "/dev/$disk" "$number" "$size" && resize2fs "$root" > /run/resize2fs.log 2>&1
