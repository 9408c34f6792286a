#!/bin/sh
# A hook for the HA suite on a cluster of kubeadm whose hosts are reached by ssh as root. Adapt it to yours.
#   seaworthy run --suite ha --kubeconfig F --fault-hook ./ssh.sh --allow-disruption=UID
# Called as: HOOK FAULT TARGET on|off [OPTIONS]; exit code 69 says that a fault is not known.
set -eu
fault=$1 target=$2 switch=$3
host=${target%%/*}
component=${target#*/}
[ "$component" != "$target" ] || component=
ssh=${SSH:-ssh}

# A member of etcd by its role: ask etcd who leads.
case $host in etcd-*) exit 69 ;; esac

case "$fault $component" in
"kill ") exit 69 ;; # A whole host: ask the hypervisor or the cloud, such as: virsh destroy, virsh start.
"restart ")
    [ "$switch" = off ] || "$ssh" "root@$host" 'systemctl reboot' || true
    ;;
"kill "*)
    # The kubelet starts what has a manifest again: it is put aside.
    manifests=/etc/kubernetes/manifests
    if [ "$switch" = on ]; then
        "$ssh" "root@$host" "mv $manifests/$component.yaml /etc/kubernetes/ && pkill -KILL -x '$component' || true"
    else
        "$ssh" "root@$host" "mv /etc/kubernetes/$component.yaml $manifests/"
    fi
    ;;
"stop "?*)
    [ "$switch" = on ] && signal=STOP || signal=CONT
    "$ssh" "root@$host" "pkill -$signal -f '^([^ ]*/)?$component( |\$)'"
    ;;
*) exit 69 ;;
esac
