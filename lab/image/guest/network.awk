# Turns a flattened network-config (version 2) into shell commands.
#   -v nics="MAC=NAME MAC=NAME ..."   the interfaces that are there
# An interface whose address does not match any is named on standard error by the commands, and left out.

function quote(s) { gsub(/'/, "'\\''", s); return "'" s "'" }

BEGIN {
    FS = "\t"
    count = split(nics, pair, " ")
    for (i = 1; i <= count; i++) {
        split(pair[i], side, "=")
        name_of[side[1]] = side[2]
    }
}

{
    sub(/^network\//, "", $1)
    if (split($1, part, "/") < 3 || part[1] != "ethernets") next
    id = part[2]
    if (!(id in seen)) { seen[id]; order[++ids] = id }
    rest = substr($1, length("ethernets/" id "/") + 1)
    if (rest ~ /^addresses\//) addresses[id] = addresses[id] " " $2
    else if (rest ~ /^nameservers\/addresses\//) servers = servers " " $2
    else if (rest ~ /^gateway[46]$/) routes[id] = routes[id] " default=" $2
    else if (rest ~ /^routes\/[0-9]+\/to$/) to[id, part[4]] = $2
    else if (rest ~ /^routes\/[0-9]+\/via$/) via[id, part[4]] = $2
    else option[id, rest] = $2
    if (rest ~ /^routes\// && (id, part[4]) in to && (id, part[4]) in via && !((id, part[4]) in done)) {
        done[id, part[4]]
        routes[id] = routes[id] " " to[id, part[4]] "=" via[id, part[4]]
    }
}

END {
    for (i = 1; i <= ids; i++) configure(order[i])
    count = split(servers, server, " ")
    for (i = 1; i <= count; i++) print "echo " quote("nameserver " server[i]) " >> /run/resolv.conf"
}

function configure(id,    nic, mac, set, mtu, j, n, each, side) {
    nic = id
    mac = tolower(option[id, "match/macaddress"])
    if (mac != "") {
        if (!(mac in name_of)) { print "echo " quote("guest: no NIC with address " mac); return }
        nic = name_of[mac]
    }
    set = option[id, "set-name"]
    if (set != "" && set != nic) { print "ip link set " quote(nic) " name " quote(set); nic = set }
    mtu = option[id, "mtu"]
    print "ip link set " quote(nic) (mtu == "" ? "" : " mtu " quote(mtu)) " up"
    n = split(addresses[id], each, " ")
    for (j = 1; j <= n; j++) print "ip addr add " quote(each[j]) " dev " quote(nic)
    n = split(routes[id], each, " ")
    for (j = 1; j <= n; j++) {
        split(each[j], side, "=")
        print "ip route add " quote(side[1]) " via " quote(side[2]) " dev " quote(nic)
    }
    if (option[id, "dhcp4"] == "true")
        print "udhcpc -q -n -t 3 -T 1 -i " quote(nic) " -s /usr/lib/lab/udhcpc"
}
