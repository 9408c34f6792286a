//! What breaks a cluster so that claims of the Windows suite must fail.

use serde_json::json;

use crate::cluster::Defect;
use crate::defects::{About, changing, newest, put, refusing, scheduler_without};

const PODS: About = About("", "v1", "pods");

pub(super) static DEFECTS: [Defect; 11] = [
    Defect {
        name: "os-removed",
        about: "A policy removes spec.os from pods and templates, as webhooks do that are compiled with an old API",
        need: newest,
        put: |target| {
            Box::pin(async move {
                let remove = |name: &str, about: About, path: &str| {
                    let condition = format!("has(object.{path}.os)");
                    let patch = format!("[JSONPatch{{op: \"remove\", path: \"/{}/os\"}}]", path.replace('.', "/"));
                    changing(name, about, &condition, &patch)
                };
                let mut objects = remove("os-of-pods", PODS, "spec");
                for (number, about) in [
                    About("apps", "v1", "deployments"),
                    About("apps", "v1", "replicasets"),
                    About("apps", "v1", "statefulsets"),
                    About("apps", "v1", "daemonsets"),
                    About("batch", "v1", "jobs"),
                    About("", "v1", "replicationcontrollers"),
                ]
                .into_iter()
                .enumerate()
                {
                    objects.extend(remove(&format!("os-of-templates-{number}"), about, "spec.template.spec"));
                }
                objects.extend(remove(
                    "os-of-cronjobs",
                    About("batch", "v1", "cronjobs"),
                    "spec.jobTemplate.spec.template.spec",
                ));
                objects.extend(remove("os-of-podtemplates", About("", "v1", "podtemplates"), "template.spec"));
                put(target, objects).await
            })
        },
    },
    Defect {
        name: "windows-options-removed",
        about: "A policy removes windowsOptions from pods and their first container",
        need: newest,
        put: |target| {
            Box::pin(async move {
                let of_pod = "has(object.spec.securityContext) && has(object.spec.securityContext.windowsOptions)";
                let of_container = "has(object.spec.containers[0].securityContext) && \
                                    has(object.spec.containers[0].securityContext.windowsOptions)";
                let remove = |path: &str| format!("[JSONPatch{{op: \"remove\", path: \"{path}\"}}]");
                let mut objects =
                    changing("options-of-pods", PODS, of_pod, &remove("/spec/securityContext/windowsOptions"));
                let path = remove("/spec/containers/0/securityContext/windowsOptions");
                objects.extend(changing("options-of-containers", PODS, of_container, &path));
                put(target, objects).await
            })
        },
    },
    Defect::raised("privileged-forbidden", "API servers have --allow-privileged=false", |need| {
        newest(need);
        need.kubeadm = Some(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
             apiServer:\n  extraArgs:\n  - {name: allow-privileged, value: \"false\"}\n",
        );
    }),
    Defect::raised("runtime-class-off", "API servers lack the admission plug-in RuntimeClass", |need| {
        newest(need);
        need.kubeadm = Some(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
             apiServer:\n  extraArgs:\n  - {name: disable-admission-plugins, value: RuntimeClass}\n",
        );
    }),
    Defect::raised("no-endpoint-slices", "The controller manager runs no EndpointSlice controller", |need| {
        newest(need);
        need.kubeadm = Some(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
             controllerManager:\n  extraArgs:\n  - {name: controllers, value: \"*,-endpointslice-controller\"}\n",
        );
    }),
    Defect {
        name: "blind-scheduler",
        about: "The scheduler's profile lacks NodeAffinity and TaintToleration",
        need: newest,
        put: |target| Box::pin(scheduler_without(target, &["NodeAffinity", "TaintToleration"])),
    },
    Defect {
        name: "blind-resources",
        about: "The scheduler's profile lacks NodeResourcesFit",
        need: newest,
        put: |target| Box::pin(scheduler_without(target, &["NodeResourcesFit"])),
    },
    Defect {
        name: "taint-removed",
        about: "Windows nodes register without the taint os=windows:NoSchedule",
        need: newest,
        put: |target| {
            Box::pin(async move {
                let condition = "has(object.spec.taints) && object.spec.taints[0].key == 'os'";
                let patch = "[JSONPatch{op: \"remove\", path: \"/spec/taints/0\"}]";
                put(target, changing("taint-removed", About("", "v1", "nodes"), condition, patch)).await
            })
        },
    },
    Defect {
        name: "selectors-removed",
        about: "A policy replaces the node selectors of DaemonSets",
        need: newest,
        put: |target| {
            Box::pin(async move {
                let patch = "[JSONPatch{op: \"replace\", path: \"/spec/template/spec/nodeSelector\", value: \
                             {\"seaworthy.dev/act\": object.metadata.namespace}}]";
                let condition = "has(object.spec.template.spec.nodeSelector)";
                put(target, changing("selectors", About("apps", "v1", "daemonsets"), condition, patch)).await
            })
        },
    },
    Defect::put("services-restricted", "A policy refuses Services with policies, affinity or names", |target| {
        Box::pin(async move {
            let expression = "object.spec.type != 'ExternalName' && (!has(object.spec.sessionAffinity) || \
                              object.spec.sessionAffinity != 'ClientIP') && (!has(object.spec.externalTrafficPolicy) \
                              || object.spec.externalTrafficPolicy != 'Local') && \
                              (!has(object.spec.internalTrafficPolicy) || object.spec.internalTrafficPolicy != \
                              'Local')";
            put(target, refusing("services-restricted", About("", "v1", "services"), expression)).await
        })
    }),
    Defect::put(
        "windows-node-misconfigured",
        "A Windows node of an old build, untainted, with pods that ask too much",
        |target| {
            Box::pin(async move {
                let labels = json!({
                    "kubernetes.io/os": "windows", "kubernetes.io/arch": "amd64",
                    "node.kubernetes.io/windows-build": "10.0.14393",
                });
                let app = json!({ "app": "legacy" });
                let objects = vec![
                    json!({
                        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "legacy", "labels": labels },
                        "status": {
                            "capacity": { "cpu": "4", "memory": "16Gi", "pods": "110" },
                            "allocatable": { "cpu": "4", "memory": "15Gi", "pods": "110" },
                        },
                    }),
                    json!({
                        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "legacy" },
                    }),
                    json!({
                        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "legacy", "labels": app },
                        "spec": {
                            "nodeName": "legacy", "serviceAccountName": "legacy",
                            "securityContext": { "runAsUser": 1000 },
                            "tolerations": [{ "operator": "Exists" }],
                            "containers": [{ "name": "main", "image": "mcr.microsoft.com/windows/nanoserver:sac2016" }],
                        },
                    }),
                    json!({
                        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "legacy" },
                        "spec": {
                            "replicas": 0, "selector": { "matchLabels": app },
                            "template": { "metadata": { "labels": app }, "spec": {
                                "tolerations": [{ "key": "os", "operator": "Exists" }],
                                "containers": [{ "name": "main", "image": "legacy" }],
                            } },
                        },
                    }),
                    json!({
                        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "legacy" },
                        "spec": {
                            "ports": [{ "port": 80 }], "sessionAffinity": "ClientIP",
                            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } },
                        },
                    }),
                    json!({
                        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                        "metadata": { "name": "legacy", "labels": { "kubernetes.io/service-name": "legacy" } },
                        "ports": [{ "port": 80 }],
                        "endpoints": [
                            { "addresses": ["203.0.113.1"], "nodeName": "legacy", "conditions": { "ready": true } },
                        ],
                    }),
                ];
                put(target, objects).await
            })
        },
    ),
];
