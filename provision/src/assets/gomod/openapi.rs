//! The one file that kube-apiserver needs and that its module lacks before 1.24: the OpenAPI definitions of all API
//! types, which Kubernetes' own build generated. We have the same generator make it.

use std::path::Path;

use super::{go, run};

/// What makes the file, of the version that Kubernetes requires.
const GENERATOR: &str = "k8s.io/kube-openapi/cmd/openapi-gen";
const KUBERNETES: &str = "k8s.io/kubernetes";
const PACKAGE: &str = "pkg/generated/openapi";
const FILE: &str = "zz_generated.openapi";
/// Marks the types, or the packages, that are to be in it.
const MARK: &str = "+k8s:openapi-gen=";

/// Has `module` build Kubernetes from a copy in `work` that has the file, if the released module lacks it.
pub(super) fn complete(module: &Path, work: &Path) -> Result<(), String> {
    // The module is fetched before it has a folder.
    run(go(module).args(["mod", "download", KUBERNETES]), |_| {})?;
    let folder = run(go(module).args(["list", "-m", "-f", "{{.Dir}}", KUBERNETES]), |_| {})?;
    let (folder, name) = (Path::new(folder.trim()), format!("{FILE}.go"));
    if folder.join(PACKAGE).join(&name).exists() {
        return Ok(());
    }
    let marked = marked(module)?;
    let made = work.join("openapi");
    let package = format!("{KUBERNETES}/{PACKAGE}");
    let mut generate = go(module);
    generate.args(["run", GENERATOR, "--go-header-file", "/dev/null", "--output-file-base", FILE]);
    generate.args(["--output-package", &package, "--input-dirs", &marked.join(",")]);
    generate.arg("--output-base").arg(&made).arg("--report-filename").arg(work.join("openapi-report"));
    run(&mut generate, |_| {})?;
    let copy = work.join("kubernetes");
    copy_folder(folder, &copy).map_err(|error| format!("{} to {}: {error}", folder.display(), copy.display()))?;
    let (from, to) = (made.join(&package).join(&name), copy.join(PACKAGE).join(&name));
    std::fs::rename(&from, &to).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    let replaced = format!("{KUBERNETES}={}", copy.display());
    run(go(module).args(["mod", "edit", "-replace", &replaced]), |_| {})?;
    Ok(())
}

/// The packages of kube-apiserver that have a mark.
fn marked(module: &Path) -> Result<Vec<String>, String> {
    // Without the standard library: the package, and after it its files.
    let form = "{{if .Module}}{{.ImportPath}}{{range .GoFiles}}\t{{$.Dir}}/{{.}}{{end}}{{end}}";
    let listed = run(go(module).args(["list", "-deps", "-f", form, "k8s.io/kubernetes/cmd/kube-apiserver"]), |_| {})?;
    let mut marked = Vec::new();
    for line in listed.lines() {
        let mut parts = line.split('\t');
        let Some(package) = parts.next().filter(|package| !package.is_empty()) else { continue };
        for file in parts {
            if std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?.contains(MARK) {
                marked.push(package.to_owned());
                break;
            }
        }
    }
    Ok(marked)
}

/// Copies a folder whose files are read-only, as those of the module cache are.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            std::fs::write(&to, std::fs::read(&from)?)?;
        }
    }
    Ok(())
}
