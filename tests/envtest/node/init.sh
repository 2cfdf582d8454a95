#!/bin/bash
# The first process of the node's own mount, network, PID, UTS and IPC namespaces: what it starts ends with it, and what it mounts
# and configures is seen by nobody else. `src/node/` starts it, with these variables:
#   RUN      the directory of this run: configuration, keys, logs
#   KUBE, KUBE_NODE, NODE, DNS, RUNC   where the programs are
#   ADDRESS  the address of the node; SERVICES and PODS, the networks
#   ARCHIVES the images, one a line
set -eu
cd "$RUN"
export PATH=$NODE:$KUBE_NODE:$KUBE:$DNS:$PATH

hostname node1
mount --make-rshared /
for directory in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $directory; done
mkdir -p /run/sysctl /run/netns
# The kubelet wants some values of the kernel that are the whole machine's: it is shown those, and none is changed.
pin() {
    echo "$2" >"/run/sysctl/$1"
    mount --bind "/run/sysctl/$1" "/proc/sys/${1//.//}"
}
pin vm.overcommit_memory 1
pin vm.panic_on_oom 0
pin kernel.panic 10
pin kernel.panic_on_oops 1
pin kernel.keys.root_maxkeys 1000000
pin kernel.keys.root_maxbytes 25000000
mount --bind "$RUN/resolv.conf" /etc/resolv.conf

ip link set lo up
ip link add node0 type veth peer name node1
ip addr add "$ADDRESS/24" dev node0
ip link set node0 up
ip link set node1 up
# What is outside must fail at once: the pull of an image that is absent would else hang.
ip route add unreachable default
echo 1 >/proc/sys/net/ipv4/ip_forward

run() { "$@" >"$RUN/$1.log" 2>&1 & }
until_true() { until "$@" >>"$RUN/waiting.log" 2>&1; do sleep 0.05; done; }
admin() { kubectl --kubeconfig "$RUN/admin.kubeconfig" "$@"; }

run etcd --data-dir="$RUN/etcd-data" --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --unsafe-no-fsync --log-level=warn
run kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=443 --bind-address=0.0.0.0 --advertise-address="$ADDRESS" \
    --service-cluster-ip-range="$SERVICES" --cert-dir="$RUN/certs" --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key \
    --client-ca-file=ca.crt --token-auth-file=tokens.csv --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key \
    --kubelet-preferred-address-types=InternalIP --allow-privileged=true --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file=sa.pub --service-account-signing-key-file=sa.key
run containerd --config="$RUN/containerd.toml"
until_true ctr --namespace=k8s.io version
while IFS= read -r archive; do
    ctr --namespace=k8s.io images import --local "$archive" >>"$RUN/import.log" 2>&1
done <<<"$ARCHIVES"
until_true admin get --raw=/readyz
run kube-controller-manager --kubeconfig=kube-controller-manager.kubeconfig --leader-elect=false \
    --kube-api-qps=500 --kube-api-burst=1000 \
    --use-service-account-credentials --service-account-private-key-file=sa.key --root-ca-file=ca.crt
run kube-scheduler --kubeconfig=kube-scheduler.kubeconfig --authentication-kubeconfig=kube-scheduler.kubeconfig \
    --authorization-kubeconfig=kube-scheduler.kubeconfig --leader-elect=false
run kubelet --config="$RUN/kubelet.yaml" --kubeconfig=kubelet.kubeconfig --root-dir=/var/lib/kubelet --hostname-override=node1 \
    --node-ip="$ADDRESS"
run kube-proxy --kubeconfig=kube-proxy.kubeconfig --proxy-mode=nftables --hostname-override=node1 --cluster-cidr="$PODS" \
    --nodeport-addresses="$ADDRESS/32" --healthz-bind-address= --metrics-bind-address= \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
run coredns -conf="$RUN/Corefile"
until_true admin get node/node1
until_true admin wait --for=condition=Ready node/node1 --timeout=60s
until_true admin get --namespace=default serviceaccount/default
echo ready >"$RUN/ready"

# It collects whoever has lost the parent. A signal ends it, and with it all others.
while :; do wait -n || sleep 0.2; done
