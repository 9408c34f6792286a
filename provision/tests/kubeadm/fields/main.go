// Prints every field of the documents that kubeadm reads, from the source of its types: apiVersion, path, type, and the
// minor versions of Kubernetes that have it.
//
//	go run provision/tests/kubeadm/fields/main.go > provision/src/kubeadm/fields.txt
package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// The versions of Kubernetes whose clusters Seaworthy brings up.
var versions = []string{
	"23.17", "24.17", "25.16", "26.15", "27.16", "28.15", "29.15", "30.14", "31.14", "32.13", "33.13", "34.4", "35.4", "36.3", "37.2",
}

// A document: its apiVersion, the package of its type, and the minor versions whose kubeadm reads it.
type document struct {
	apiVersion, pkg string
	kinds           []string
	first, last     int
}

const kubeadmGroup = "k8s.io/kubernetes/cmd/kubeadm/app/apis/"
const kubeadm = kubeadmGroup + "kubeadm/"

var documents = []document{
	{"kubeadm.k8s.io/v1beta3", kubeadm + "v1beta3", []string{"ClusterConfiguration", "InitConfiguration", "JoinConfiguration"}, 22, 36},
	{"kubeadm.k8s.io/v1beta4", kubeadm + "v1beta4",
		[]string{"ClusterConfiguration", "InitConfiguration", "JoinConfiguration", "ResetConfiguration", "UpgradeConfiguration"}, 31, 99},
	{"kubelet.config.k8s.io/v1beta1", "k8s.io/kubelet/config/v1beta1", []string{"KubeletConfiguration"}, 0, 99},
	{"kubeproxy.config.k8s.io/v1alpha1", "k8s.io/kube-proxy/config/v1alpha1", []string{"KubeProxyConfiguration"}, 0, 99},
}

// Types that read themselves.
var leaves = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":         "duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":             "time",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":         "quantity",
	"k8s.io/apimachinery/pkg/api/resource.QuantityValue":    "quantity",
	"k8s.io/component-base/logs/api/v1.TimeOrMetaDuration":  "nanoseconds",
	kubeadmGroup + "bootstraptoken/v1.BootstrapTokenString": "token",
}

type source struct {
	minor, patch string
	packages     map[string]map[string]typed
}

// A type, and the file that declares it.
type typed struct {
	expression ast.Expr
	file       *ast.File
}

func (s *source) dir(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	major := "v0."
	if parts[1] == "kubernetes" {
		major = "v1."
	}
	download := func(patch string) ([]byte, error) {
		version := major + s.minor + "." + patch
		return exec.Command("go", "mod", "download", "-json", "k8s.io/"+parts[1]+"@"+version).Output()
	}
	out, err := download(s.patch)
	if err != nil {
		// Not every patch is served; types do not change within a minor version.
		out, err = download("0")
	}
	if err != nil {
		log.Fatalf("%s of 1.%s: %v: %s", pkg, s.minor, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		log.Fatal(err)
	}
	return filepath.Join(module.Dir, parts[2])
}

func (s *source) load(pkg string) map[string]typed {
	if found, ok := s.packages[pkg]; ok {
		return found
	}
	found := map[string]typed{}
	files, err := filepath.Glob(filepath.Join(s.dir(pkg), "*.go"))
	if err != nil || len(files) == 0 {
		log.Fatalf("%s has no files: %v", pkg, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(filepath.Base(path), "generated") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			log.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if general, ok := declaration.(*ast.GenDecl); ok {
				for _, spec := range general.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						found[spec.Name.Name] = typed{spec.Type, file}
					}
				}
			}
		}
	}
	s.packages[pkg] = found
	return found
}

func imported(file *ast.File, name string) string {
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if spec.Name != nil && spec.Name.Name == name || spec.Name == nil && filepath.Base(path) == name {
			return path
		}
	}
	log.Fatalf("%s is not imported", name)
	return ""
}

// walk emits what an expression in a file of a package is, at a path.
func (s *source) walk(path, pkg string, file *ast.File, expression ast.Expr, emit func(path, kind string)) {
	switch e := expression.(type) {
	case *ast.StarExpr:
		s.walk(path, pkg, file, e.X, func(at, kind string) {
			// Null is nothing for a pointer; a value that reads itself is given it.
			if at == path {
				kind = strings.TrimSuffix(kind, "!")
			}
			emit(at, kind)
		})
	case *ast.ArrayType:
		emit(path, "list")
		s.walk(path+"[]", pkg, file, e.Elt, emit)
	case *ast.MapType:
		emit(path, "map")
		s.walk(path+"{}", pkg, file, e.Value, emit)
	case *ast.SelectorExpr:
		s.named(path, imported(file, e.X.(*ast.Ident).Name), e.Sel.Name, emit)
	case *ast.Ident:
		switch e.Name {
		case "string", "bool", "int", "int32", "int64", "uint32", "float32", "float64":
			emit(path, e.Name)
		default:
			s.named(path, pkg, e.Name, emit)
		}
	case *ast.StructType:
		emit(path, "object")
		s.fields(path, pkg, file, e, emit)
	default:
		log.Fatalf("%s: %T", path, expression)
	}
}

func (s *source) fields(path, pkg string, file *ast.File, structure *ast.StructType, emit func(path, kind string)) {
	for _, field := range structure.Fields.List {
		tag := ""
		if field.Tag != nil {
			text, _ := strconv.Unquote(field.Tag.Value)
			tag = strings.Split(reflect.StructTag(text).Get("json"), ",")[0]
		}
		if tag == "-" {
			continue
		}
		if tag == "" && len(field.Names) == 0 {
			s.walk(path, pkg, file, field.Type, func(at, kind string) {
				if at != path {
					emit(at, kind)
				}
			})
			continue
		}
		if tag == "" {
			log.Fatalf("%s.%s has no name", path, field.Names[0].Name)
		}
		s.walk(path+"."+tag, pkg, file, field.Type, emit)
	}
}

func (s *source) named(path, pkg, name string, emit func(path, kind string)) {
	if leaf, ok := leaves[pkg+"."+name]; ok {
		emit(path, leaf+"!")
		return
	}
	if pkg == "time" {
		emit(path, "int64")
		return
	}
	if strings.HasSuffix(pkg, "meta/v1") && name == "TypeMeta" {
		emit(path+".apiVersion", "string")
		emit(path+".kind", "string")
		return
	}
	found, ok := s.load(pkg)[name]
	if !ok {
		log.Fatalf("%s: %s has no type %s", path, pkg, name)
	}
	s.walk(path, pkg, found.file, found.expression, emit)
}

func main() {
	log.SetFlags(0)
	// The minor versions that have each line.
	seen, order := map[string][]int{}, []string{}
	for _, version := range versions {
		minor, patch, _ := strings.Cut(version, ".")
		number, _ := strconv.Atoi(minor)
		s := &source{minor, patch, map[string]map[string]typed{}}
		for _, document := range documents {
			if number < document.first || number > document.last {
				continue
			}
			for _, kind := range document.kinds {
				if _, ok := s.load(document.pkg)[kind]; !ok {
					continue
				}
				s.named(kind, document.pkg, kind, func(path, kind string) {
					line := document.apiVersion + " " + path + " " + kind
					if _, ok := seen[line]; !ok {
						order = append(order, line)
					}
					if all := seen[line]; len(all) == 0 || all[len(all)-1] != number {
						seen[line] = append(all, number)
					}
				})
			}
		}
	}
	sort.Strings(order)
	for _, line := range order {
		all := seen[line]
		if all[len(all)-1]-all[0]+1 != len(all) {
			log.Fatalf("%s comes and goes: %v", line, all)
		}
		fmt.Fprintf(os.Stdout, "%s %d %d\n", line, all[0], all[len(all)-1])
	}
}
