#!/bin/sh
# A hook for the HA suite on a cluster of `seaworthy cluster up` that is taken by its kubeconfig, as any other one is.
#   CLUSTER=demo seaworthy run --suite ha --kubeconfig F --fault-hook ./seaworthy.sh --allow-disruption=UID
# Called as: HOOK FAULT TARGET on|off [OPTIONS]
set -eu
fault=$1 target=$2 switch=$3
shift 3
: "${CLUSTER:?the name of the cluster}"
command=${SEAWORTHY:-seaworthy}

case $target in
etcd-leader* | etcd-follower*) exit 69 ;; # Which member leads is not known here.
load-balancer) target=harbor/load-balancer ;;
esac
# Control planes that are no nodes are called by their addresses.
names=$("$command" cluster status "$CLUSTER" | awk '$1 == "●" { for (i = 3; i <= NF; i++) print "s#\\b" $i "\\b#" $2 "#g" }')
target=$(echo "$target" | sed "$names")
if [ "$switch" = off ]; then
    exec "$command" cluster fault --name "$CLUSTER" undo --all
fi
exec "$command" cluster fault --name "$CLUSTER" "$fault" "$target" "$@"
