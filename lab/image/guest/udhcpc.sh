#!/bin/sh
# What udhcpc does with a lease.
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route add default via "${router%% *}" dev "$interface"
for server in $dns; do
    echo "nameserver $server" >> /run/resolv.conf
done
