#!/bin/bash
# Makes the node's own view of the machine, inside its namespaces: nobody outside sees these mounts, addresses and settings,
# and they go with the namespaces. $1: folder of the cluster, $2: the node's address, $3: the gateway's.
set -euo pipefail
own=$1/machine

# The daemons' fixed places. /run holds sockets, whose paths are short.
for place in /var/lib /var/log; do
    mkdir -p "$own$place"
done
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/containerd
mount --bind "$own/var/lib" /var/lib
mount --bind "$own/var/log" /var/log
mkdir -p /var/lib/kubelet
# What the kubelet mounts for Pods has to reach containers.
mount --make-rshared /

# The kubelet insists on kernel settings of the whole machine. It sees them as it wants them, and sets nothing.
mkdir -p "$own/settings"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=$own/settings/${setting//\//-}
    echo "${setting#*=}" > "$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done

ip link set lo up
ip addr add "$2/24" dev eth0
ip link set eth0 up
# The kubelet and the API server ask for a default route. The machine forwards nothing.
ip route add default via "$3" dev eth0 onlink
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1
# Only there once the bridge module is loaded; Services work without it where no Pod calls a neighbour through one.
sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true
