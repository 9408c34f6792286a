use super::*;

fn said(manifests: &Manifests) -> Vec<String> {
    manifests.objects.iter().map(|object| format!("{}:{} {object}", object.file, object.line)).collect()
}

fn problems(manifests: &Manifests) -> Vec<(Trouble, u32)> {
    manifests.problems.iter().map(|problem| (problem.trouble, problem.line.unwrap_or(0))).collect()
}

#[test]
fn documents_lists_and_json_have_files_and_lines() {
    let text = "# a comment\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\n--- # next\n\
                {\"apiVersion\": \"v1\",\n \"kind\": \"Pod\", \"metadata\": {\"generateName\": \"b-\"}}\n---\n---\n\
                apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: c}\n\
                - kind: Pod\n---\napiVersion: v1\nkind: PodList\nitems:\n- metadata:\n    name: d\n- null\n";
    let manifests = Manifests::of_text("x.yaml", text);
    let wanted =
        ["x.yaml:3 Pod shop/a", "x.yaml:7 Pod b-*", "x.yaml:14 Deployment c", "x.yaml:22 Pod d"].map(str::to_owned);
    assert_eq!(said(&manifests), wanted);
    assert_eq!(problems(&manifests), [(Trouble::NotAnObject, 17)]);
    assert_eq!(manifests.objects[2].group(), "apps");
    let name = manifests.objects[3].cursor().down(&["metadata", "name"]).place();
    assert_eq!((name.path.as_str(), name.line), ("metadata.name", Some(23)));
}

#[test]
fn helm_s_headings_comments_and_notes_are_no_garbage() {
    let text = "NAME: web\nLAST DEPLOYED: Mon\nNAMESPACE: shop\nHOOKS:\n---\n# Source: web/templates/job.yaml\n\
                apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: j\nMANIFEST:\n---\n\
                # Source: web/templates/pod.yaml\n\
                apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n\nNOTES:\n1. Run: these\n  - commands: {{\n---\nbye\n";
    let manifests = Manifests::of_text("-", text);
    assert_eq!(said(&manifests), ["-:7 Job j", "-:14 Pod p"]);
    assert_eq!(manifests.objects[0].template.as_deref(), Some("web/templates/job.yaml"));
    assert!(manifests.problems.is_empty(), "{:?}", manifests.problems);
}

#[test]
fn templates_and_garbage_are_named_and_hide_nothing_else() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata:\n\
                \x20 name: {{ .Values.name }}\n---\n{{- if .x }}\nkind: Pod\n{{- end }}\n---\na: [\n---\n\
                just text\n---\n\
                apiVersion: v1\nkind: Pod\nmetadata: {name: z}\nspec:\n  hostPID: true\n  hostPID: false\n---\n\
                apiVersion: template.openshift.io/v1\nkind: Template\nobjects: []\n---\n\
                apiVersion: v1\nkind: \"{{ .kind }}\"\n---\n{\"kind\": }\n---\n- a\n- b\n---\n\
                apiVersion: v1\nkind: ConfigMap\nmetadata: {name: alerts}\ndata: {a: \"{{ $labels.x }}\"}\n";
    let manifests = Manifests::of_text("f", text);
    assert_eq!(said(&manifests), ["f:1 Pod a", "f:18 Pod z", "f:37 ConfigMap alerts"]);
    let wanted = [
        (Trouble::Template, 8),
        (Trouble::Template, 10),
        (Trouble::Syntax, 14),
        (Trouble::NotAnObject, 16),
        (Trouble::Repeated, 23),
        (Trouble::Template, 25),
        (Trouble::Template, 29),
        (Trouble::Syntax, 32),
        (Trouble::NotAnObject, 34),
    ];
    assert_eq!(problems(&manifests), wanted, "{:#?}", manifests.problems);
}

#[test]
fn folders_are_read_in_order_and_what_is_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
    std::fs::create_dir_all(at("b/c")).unwrap();
    std::fs::create_dir_all(at(".git")).unwrap();
    for (file, text) in [
        ("z.yml", pod("z")),
        ("b/c/y.json", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"y\"}}".to_owned()),
        ("a.txt", pod("no")),
        (".git/x.yaml", pod("no")),
        ("values.yaml", "replicas: 2\n".to_owned()),
    ] {
        std::fs::write(at(file), text).unwrap();
    }
    std::fs::write(at("latin.yaml"), b"apiVersion: v1 # \xe4\n").unwrap();
    std::os::unix::fs::symlink(at("z.yml"), at("b/link.yaml")).unwrap();
    std::os::unix::fs::symlink(folder.path(), at("b/loop")).unwrap();
    std::os::unix::fs::symlink("/nowhere", at("b/gone.yaml")).unwrap();
    let read = |path: PathBuf| Manifests::read(&[path], &mut std::io::empty());
    let manifests = read(folder.path().to_owned()).unwrap();
    let names: Vec<_> = manifests.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["y", "z", "z"]);
    assert_eq!(manifests.files, 6);
    let troubles: Vec<_> = problems(&manifests).into_iter().map(|(trouble, _)| trouble).collect();
    assert_eq!(troubles, [Trouble::Unreadable, Trouble::Unreadable, Trouble::NotAnObject]);
    assert!(read(at("nothing")).unwrap_err().to_string().contains("nothing: "));
    // What was given by name is read whatever it is called.
    assert_eq!(read(at("a.txt")).unwrap().objects.len(), 1);
    let piped = Manifests::read(&[PathBuf::from("-")], &mut pod("p").as_bytes()).unwrap();
    assert_eq!(said(&piped), ["stdin:1 Pod p"]);
}
