# The host of comes_up.rs: its processes are in a network and a PID namespace whose first process is this shell, so ports clash
# with nothing and nothing outlives it. DIR holds what the test made and takes what it looks at; NAMES are the objects of
# objects.json. A step that has to wait for another component asks until it is there; the test gives up on all of it.
set -e
until_it() { until "$@" >/dev/null 2>&1; do sleep 0.1; done; }
kubectl() { "$KUBECTL" --kubeconfig "$DIR/super-admin.conf" "$@"; }
has_lease() { kubectl get lease -n kube-system "$1"; }
is_signed() { kubectl get configmap cluster-info -n kube-public -o json | grep "jws-kubeconfig-$TOKEN_ID"; }
dump() { for name in $NAMES; do kubectl get -n "${name%%:*}" "${name#*:}" -o json; done >"$DIR/$1"; }

ip link set lo up
ip address add 10.0.0.11/32 dev lo
. "$DIR/start.sh"
until_it kubectl get --raw /readyz
until_it has_lease kube-scheduler
until_it has_lease kube-controller-manager
until_it kubectl get serviceaccount default -n default
kubectl get clusterrole cluster-admin -o name >"$DIR/bootstrapped"

# Our objects first; then kubeadm's own phase, which mends what it finds wrong.
kubectl create -f "$DIR/objects.json" >"$DIR/created"
until_it is_signed
dump ours.json
"$KUBEADM" init phase bootstrap-token --config "$DIR/kubeadm.yaml" --kubeconfig "$DIR/super-admin.conf" --skip-token-print >"$DIR/kubeadm.log" 2>&1
"$KUBEADM" init phase upload-config all --config "$DIR/kubeadm.yaml" --kubeconfig "$DIR/super-admin.conf" >>"$DIR/kubeadm.log" 2>&1
# This phase takes no other kubeconfig than that of the node.
unshare --mount sh -ec 'mount -t tmpfs none /etc; mkdir /etc/kubernetes; cp "$DIR/admin.conf" "$DIR/super-admin.conf" /etc/kubernetes
"$KUBEADM" init phase mark-control-plane --config "$DIR/kubeadm.yaml"' >>"$DIR/kubeadm.log" 2>&1
dump theirs.json
# kubeadm encrypts what it shares; the test decrypts it.
"$KUBEADM" init phase upload-certs --upload-certs --skip-certificate-key-print --config "$DIR/kubeadm.yaml" --kubeconfig "$DIR/super-admin.conf" >>"$DIR/kubeadm.log" 2>&1
kubectl get secret kubeadm-certs -n kube-system -o json >"$DIR/kubeadm-certs.json"
kubectl get -n kube-system -o json "secret/$(kubectl get secret kubeadm-certs -n kube-system -o 'jsonpath={.metadata.ownerReferences[0].name}')" >"$DIR/owner.json"
kubectl get role,rolebinding kubeadm:kubeadm-certs -n kube-system -o json >"$DIR/kubeadm-certs-rules.json"
"$KUBEADM" token list --kubeconfig "$DIR/super-admin.conf" >"$DIR/tokens"
"$KUBECTL" --kubeconfig "$DIR/admin.conf" auth can-i '*' '*' >"$DIR/admin"
kubectl auth can-i get nodes/proxy --as kube-apiserver-kubelet-client >"$DIR/kubelet" 2>/dev/null
: >"$DIR/done"
wait
