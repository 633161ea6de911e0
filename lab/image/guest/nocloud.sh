#!/bin/sh
# A small cloud-init: reads the NoCloud seed (a disk labelled cidata) and applies what it says.
#   nocloud network      mounts the seed, then host name and addresses; at every boot
#   nocloud user-data    the user data; once per instance-id, but for hostname and bootcmd: these at every boot
# User data is a program (first line #!) or #cloud-config with: hostname, bootcmd, ssh_authorized_keys, write_files
# (path, content, permissions, append), runcmd; in this order. Other keys are named on the console and left alone.
seed=/run/seed
state=/var/lib/cloud
flat() { awk -f /usr/lib/lab/flatten.awk "$1"; }
value() { sed -n "s|^$2	||p" "$1" | head -n 1; }
under() { awk -F '\t' -v p="$2/" 'index($1, p) == 1 { split(substr($1, length(p) + 1), a, "/"); if (!(a[1] in s)) { s[a[1]]; print a[1] } }' "$1"; }

mount_seed() {
    mkdir -p $seed
    for label in cidata CIDATA; do
        device=$(findfs LABEL=$label 2>/dev/null) && mount -o ro "$device" $seed 2>/dev/null && return 0
    done
    return 1
}

set_hostname() {
    [ -n "$1" ] || return 0
    echo "$1" > /etc/hostname
    hostname "$1"
}

interfaces() {
    for each in /sys/class/net/*; do
        read -r mac < "$each/address" && printf '%s=%s ' "$mac" "${each##*/}"
    done
}

apply_network() {
    : > /run/resolv.conf
    if [ -f $seed/meta-data ]; then
        flat $seed/meta-data > /run/meta-data.flat
        set_hostname "$(value /run/meta-data.flat local-hostname)"
    fi
    [ -f $seed/network-config ] || return 0
    flat $seed/network-config | awk -v nics="$(interfaces)" -f /usr/lib/lab/network.awk > /run/network.sh
    . /run/network.sh
}

write_file() {  # flattened file, path of the entry in it
    target=$(value "$1" "$2/path")
    mkdir -p "$(dirname "$target")"
    [ "$(value "$1" "$2/append")" = true ] || : > "$target"
    printf '%b' "$(value "$1" "$2/content")" >> "$target"
    mode=$(value "$1" "$2/permissions")
    [ -z "$mode" ] || chmod "$mode" "$target"
}

run_entry() {  # flattened file, path of the entry in it: a line for the shell, or a list of words
    words=$(under "$1" "$2")
    if [ -z "$words" ]; then
        sh -c "$(printf '%b' "$(value "$1" "$2")")"
        return
    fi
    list=$2
    set --
    for index in $words; do
        set -- "$@" "$(printf '%b' "$(value /run/user-data.flat "$list/$index")")"
    done
    "$@"
}

run_all() {  # name of a list of commands
    for index in $(under /run/user-data.flat "$1"); do
        run_entry /run/user-data.flat "$1/$index"
    done
}

apply_cloud_config() {
    for index in $(under /run/user-data.flat ssh_authorized_keys); do
        mkdir -p -m 700 /root/.ssh
        value /run/user-data.flat "ssh_authorized_keys/$index" >> /root/.ssh/authorized_keys
    done
    for index in $(under /run/user-data.flat write_files); do
        write_file /run/user-data.flat "write_files/$index"
    done
    run_all runcmd
    cut -f 1 /run/user-data.flat | cut -d / -f 1 | sort -u |
        grep -v -x -E 'hostname|fqdn|ssh_authorized_keys|write_files|bootcmd|runcmd' |
        sed 's/^/guest: user data: not understood here, left alone: /'
}

apply_user_data() {
    [ -f $seed/user-data ] || return 0
    kind=$(head -n 1 $seed/user-data)
    mkdir -p $state
    case $kind in
        '#cloud-config'*)
            flat $seed/user-data > /run/user-data.flat
            set_hostname "$(value /run/user-data.flat hostname)"
            run_all bootcmd
            ;;
    esac
    instance=$(value /run/meta-data.flat instance-id)
    [ "$(cat $state/instance-id 2>/dev/null)" != "${instance:-none}" ] || return 0
    case $kind in
        '#!'*) cp $seed/user-data /run/user-data && chmod 700 /run/user-data && /run/user-data ;;
        '#cloud-config'*) apply_cloud_config ;;
        '') ;;
        *) echo "guest: user data begins with neither #! nor #cloud-config; left alone" ;;
    esac > $state/output.log 2>&1
    cat $state/output.log
    echo "${instance:-none}" > $state/instance-id
    sync
}

case $1 in
    network) mount_seed && apply_network ;;
    user-data) [ ! -d $seed ] || apply_user_data ;;
esac
