// Command generate writes the tables of the kubelet's flags and of the members of KubeletConfiguration, by minor release,
// from the sources of the Kubernetes modules. It needs the go command and a module proxy, and nothing else:
//
//	cd checks/src/effective/kubelet/tables && go run generate.go
//
// flags.tsv: name, kind, member of the configuration, first and last minor release that know the flag. members.tsv: path,
// kind, first and last minor release that know the member, and gates.tsv the same for feature gates; `[]` stands for any element and `{}` for any key, and the kind of a
// member whose absence differs from its zero value ends in `?`. A test holds the flags against `kubelet --help` of real kubelets.
package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// The releases that are read: the last patch of each minor release that the table was made with.
var releases = []string{
	"23.17", "24.17", "25.16", "26.15", "27.16", "28.15", "29.15", "30.14", "31.14", "32.13", "33.13", "34.4", "35.4", "36.3", "37.2",
}

// Flags of klog, which component-base handed to every component until 1.25 (KEP-2845).
var klog = map[string]string{
	"add-dir-header": "bool", "alsologtostderr": "bool", "log-backtrace-at": "string", "log-dir": "string", "log-file": "string",
	"log-file-max-size": "int", "logtostderr": "bool", "one-output": "bool", "skip-headers": "bool", "skip-log-headers": "bool",
	"stderrthreshold": "string",
}

// Flags of cAdvisor that are no strings.
var cadvisor = map[string]string{
	"docker-only": "bool", "docker-tls": "bool", "enable-load-reader": "bool", "log-cadvisor-usage": "bool",
	"storage-driver-secure": "bool", "application-metrics-count-limit": "int", "global-housekeeping-interval": "duration",
	"housekeeping-interval": "duration", "storage-driver-buffer-duration": "duration",
}

type row struct{ name, kind, member string }

// table collects rows by minor release.
type table map[row][]int

func (t table) add(r row, minor int) {
	if all := t[r]; len(all) == 0 || all[len(all)-1] != minor {
		t[r] = append(all, minor)
	}
}

// write prints a line for every unbroken run of releases.
func (t table) write(path string, withMember bool) {
	var lines []string
	for r, minors := range t {
		for begin := 0; begin < len(minors); {
			end := begin
			for end+1 < len(minors) && minors[end+1] == minors[end]+1 {
				end++
			}
			fields := []string{r.name, r.kind}
			if withMember {
				fields = append(fields, r.member)
			}
			fields = append(fields, strconv.Itoa(minors[begin]), strconv.Itoa(minors[end]))
			lines = append(lines, strings.Join(fields, "\t"))
			begin = end + 1
		}
	}
	sort.Strings(lines)
	must(os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// module downloads a module and returns its folder.
func module(name string) string {
	out, err := exec.Command("go", "mod", "download", "-json", name).Output()
	var said struct{ Dir, Error string }
	must(json.Unmarshal(out, &said))
	if err != nil && !strings.HasPrefix(name, "k8s.io/controller-manager@") {
		must(fmt.Errorf("%s", said.Error))
	}
	return said.Dir
}

// source is the declarations of one folder.
type source struct {
	types map[string]ast.Expr
	files []*ast.File
	// Constants of strings, which flags are named by.
	names map[string]string
}

func read(folder string) *source {
	s := &source{types: map[string]ast.Expr{}, names: map[string]string{}}
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	must(err)
	for _, path := range paths {
		base := filepath.Base(path)
		if strings.HasSuffix(base, "_test.go") || strings.Contains(base, "windows") || strings.HasSuffix(base, "_other.go") ||
			strings.HasSuffix(base, "_others.go") || strings.HasSuffix(base, "_providerless.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		must(err)
		s.files = append(s.files, file)
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range general.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					s.types[spec.Name.Name] = spec.Type
				case *ast.ValueSpec:
					for i, name := range spec.Names {
						if i < len(spec.Values) {
							if text, ok := literal(spec.Values[i]); ok {
								s.names[name.Name] = text
							}
						}
					}
				}
			}
		}
	}
	return s
}

func literal(e ast.Expr) (string, bool) {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		text, err := strconv.Unquote(lit.Value)
		return text, err == nil
	}
	return "", false
}

// schema walks the types of a configuration.
type schema struct {
	packages map[string]*source
	members  table
	minor    int
	// Paths by the names of Go, as flags name them: Authentication.Anonymous.Enabled.
	paths map[string]string
}

// walk adds a member and all below it.
func (s *schema) walk(pkg string, e ast.Expr, path, goPath string) {
	pointer := ""
	if star, ok := e.(*ast.StarExpr); ok {
		pointer, e = "?", star.X
	}
	add := func(kind string) { s.members.add(row{name: path, kind: kind + pointer}, s.minor) }
	s.paths[goPath] = path
	switch e := e.(type) {
	case *ast.ArrayType:
		add("list")
		s.walk(pkg, e.Elt, path+"[]", goPath+"[]")
	case *ast.MapType:
		add("map")
		s.walk(pkg, e.Value, path+"{}", goPath+"{}")
	case *ast.StructType:
		if path != "" {
			add("struct")
		}
		s.fields(pkg, e, path, goPath)
	case *ast.SelectorExpr:
		from, name := e.X.(*ast.Ident).Name, e.Sel.Name
		switch from + "." + name {
		case "metav1.Duration", "v1.Duration":
			add("duration")
		case "time.Duration":
			add("int64")
		case "v1.ResourceList", "corev1.ResourceList":
			add("map")
			s.members.add(row{name: path + "{}", kind: "quantity"}, s.minor)
		case "resource.QuantityValue", "resource.Quantity":
			add("quantity")
		case "v1.Taint", "corev1.Taint":
			add("struct")
			for _, member := range []string{"key", "value", "effect"} {
				s.members.add(row{name: path + "." + member, kind: "string"}, s.minor)
			}
			s.members.add(row{name: path + ".timeAdded", kind: "string"}, s.minor)
		case "runtime.RawExtension":
			add("any")
		default:
			if s.packages[from] == nil {
				must(fmt.Errorf("%s: unknown type %s.%s", path, from, name))
			}
			s.walk(from, again(pointer, &ast.Ident{Name: name}), path, goPath)
		}
	case *ast.Ident:
		switch e.Name {
		case "bool", "string":
			add(e.Name)
		case "int32", "int64", "uint32", "uint64", "int", "uint16":
			add(e.Name)
		case "float64":
			add("float")
		default:
			// A Duration or a list with a decoding of its own.
			switch e.Name {
			case "TimeOrMetaDuration":
				add("nanoseconds-or-duration")
				s.paths[goPath+".Duration.Duration"] = path
				return
			case "VModuleConfiguration":
				add("list")
				s.members.add(row{name: path + "[]", kind: "struct"}, s.minor)
				s.members.add(row{name: path + "[].filePattern", kind: "string"}, s.minor)
				s.members.add(row{name: path + "[].verbosity", kind: "uint32"}, s.minor)
				return
			case "VerbosityLevel":
				add("uint32")
				return
			}
			found, ok := s.packages[pkg].types[e.Name]
			if !ok {
				must(fmt.Errorf("%s: unknown type %s.%s", path, pkg, e.Name))
			}
			s.walk(pkg, again(pointer, found), path, goPath)
		}
	default:
		must(fmt.Errorf("%s: unknown syntax %T", path, e))
	}
}

// again puts the pointer back that was taken off a type with a name.
func again(pointer string, e ast.Expr) ast.Expr {
	if pointer == "" {
		return e
	}
	return &ast.StarExpr{X: e}
}

func (s *schema) fields(pkg string, e *ast.StructType, path, goPath string) {
	for _, field := range e.Fields.List {
		tag := ""
		if field.Tag != nil {
			text, err := strconv.Unquote(field.Tag.Value)
			must(err)
			tag = reflect.StructTag(text).Get("json")
		}
		name, options, _ := strings.Cut(tag, ",")
		inline := len(field.Names) == 0 && (strings.Contains(options, "inline") || name == "")
		if inline {
			if selector, ok := field.Type.(*ast.SelectorExpr); ok && selector.Sel.Name == "TypeMeta" {
				s.members.add(row{name: "apiVersion", kind: "string"}, s.minor)
				s.members.add(row{name: "kind", kind: "string"}, s.minor)
				continue
			}
			if ident, ok := field.Type.(*ast.Ident); ok {
				if inner, ok := s.packages[pkg].types[ident.Name].(*ast.StructType); ok {
					s.fields(pkg, inner, path, goPath)
					continue
				}
			}
		}
		if name == "-" || name == "" {
			continue
		}
		below, goBelow := name, field.Names[0].Name
		if path != "" {
			below, goBelow = path+"."+below, goPath+"."+goBelow
		}
		s.walk(pkg, field.Type, below, goBelow)
	}
}

// kinds of `fs.XVar`.
var kinds = map[string]string{
	"BoolVar": "bool", "BoolVarP": "bool", "BoolP": "bool", "StringVar": "string", "DurationVar": "duration", "Int32Var": "int", "Int64Var": "int",
	"IntVar": "int", "UintVar": "int", "StringSliceVar": "list", "Float64Var": "float",
}

// flags finds the calls that add flags.
func flags(src *source, into table, minor int, paths map[string]string, logging bool) {
	for _, file := range src.files {
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			method := ""
			if ok {
				method = selector.Sel.Name
				if on, ok := selector.X.(*ast.Ident); !ok || on.Name != "fs" {
					return true
				}
			} else if ident, ok := call.Fun.(*ast.Ident); ok && strings.Contains(strings.ToLower(ident.Name), "register") && len(call.Args) >= 3 {
				name, ok := literal(call.Args[2])
				if selector, is := call.Args[2].(*ast.SelectorExpr); is && selector.Sel.Name == "HousekeepingInterval" {
					name, ok = "housekeeping_interval", true
				}
				if ok {
					name = strings.ReplaceAll(name, "_", "-")
					kind := cadvisor[name]
					if kind == "" {
						kind = "string"
					}
					into.add(row{name, kind, "-"}, minor)
				}
				return true
			}
			kind, known := kinds[method]
			if !known && method != "Var" && method != "VarP" || len(call.Args) < 3 {
				return true
			}
			name, ok := literal(call.Args[1])
			if ident, is := call.Args[1].(*ast.Ident); is {
				name, ok = src.names[ident.Name]
			}
			if !ok {
				return true
			}
			target, constructor := target(call.Args[0])
			if !known {
				kind = kindOf(constructor)
			}
			member := "-"
			if rest, ok := strings.CutPrefix(target, "c."); ok {
				if logging {
					rest = "Logging." + rest
				}
				rest = strings.TrimSuffix(rest, ".Duration")
				if path, ok := paths[rest]; ok {
					member = path
				} else if path, ok := paths[strings.TrimSuffix(rest, ".Duration")]; ok {
					member = path
				} else if name != "config" {
					fmt.Fprintf(os.Stderr, "1.%d: --%s sets %s, which is no member\n", minor, name, rest)
				}
			}
			into.add(row{name, kind, member}, minor)
			return true
		})
	}
}

// target is the field that a flag sets, as text, and what wraps it.
func target(e ast.Expr) (string, string) {
	switch e := e.(type) {
	case *ast.UnaryExpr:
		return target(e.X)
	case *ast.CompositeLit:
		_, name := target(e.Type)
		text := ""
		for _, element := range e.Elts {
			if pair, ok := element.(*ast.KeyValueExpr); ok {
				text, _ = target(pair.Value)
			}
		}
		return text, name
	case *ast.CallExpr:
		_, name := target(e.Fun)
		text := ""
		if len(e.Args) > 0 {
			text, _ = target(e.Args[0])
		}
		return text, name
	case *ast.ParenExpr:
		return target(e.X)
	case *ast.StarExpr:
		return target(e.X)
	case *ast.SelectorExpr:
		text, _ := target(e.X)
		return text + "." + e.Sel.Name, e.Sel.Name
	case *ast.Ident:
		return e.Name, e.Name
	}
	return "", ""
}

func kindOf(constructor string) string {
	switch constructor {
	case "NewMapStringBool":
		return "map-bool"
	case "NewMapStringString", "ConfigurationMap":
		return "map"
	case "NewMapStringStringNoSplit":
		return "map-no-split"
	case "NewLangleSeparatedMapStringString":
		return "map-langle"
	case "NewColonSeparatedMultimapStringString":
		return "multimap"
	case "IPVar":
		return "ip"
	case "ReservedMemoryVar":
		return "reserved-memory"
	case "RegisterWithTaintsVar":
		return "taints"
	case "VerbosityLevelPflag", "Verbosity":
		return "int"
	case "VModuleConfigurationPflag", "VModule":
		return "vmodule"
	case "InfoBufferSize":
		return "quantity"
	}
	return "string"
}

func main() {
	flagRows, members, allGates := table{}, table{}, table{}
	for _, release := range releases {
		minor, err := strconv.Atoi(strings.Split(release, ".")[0])
		must(err)
		kubernetes, kubelet := module("k8s.io/kubernetes@v1."+release), module("k8s.io/kubelet@v0."+release)
		base := module("k8s.io/component-base@v0." + release)
		logs := filepath.Join(base, "logs/api/v1")
		if _, err := os.Stat(logs); err != nil {
			logs = filepath.Join(base, "config/v1alpha1")
		}
		s := &schema{members: members, minor: minor, paths: map[string]string{}, packages: map[string]*source{
			"v1beta1": read(filepath.Join(kubelet, "config/v1beta1")),
			"logsapi": read(logs), "componentbaseconfigv1alpha1": read(logs), "componentbaseconfig": read(logs),
		}}
		if tracing := filepath.Join(base, "tracing/api/v1"); exists(tracing) {
			s.packages["tracingapi"] = read(tracing)
		}
		s.walk("v1beta1", &ast.Ident{Name: "KubeletConfiguration"}, "", "")
		flags(read(filepath.Join(kubernetes, "cmd/kubelet/app/options")), flagRows, minor, s.paths, false)
		if exists(filepath.Join(kubernetes, "pkg/kubelet/config/flags.go")) {
			flags(read(filepath.Join(kubernetes, "pkg/kubelet/config")), flagRows, minor, s.paths, false)
		}
		if exists(filepath.Join(base, "logs/api/v1")) {
			flags(read(logs), flagRows, minor, s.paths, true)
		} else {
			flags(read(filepath.Join(base, "logs")), flagRows, minor, s.paths, true)
		}
		gates(release, minor, allGates)
		for _, name := range []string{"help", "version"} {
			flagRows.add(row{name, map[string]string{"help": "bool", "version": "version"}[name], "-"}, minor)
		}
		if minor <= 25 {
			for name, kind := range klog {
				flagRows.add(row{name, kind, "-"}, minor)
			}
		}
	}
	allGates.write("gates.tsv", false)
	flagRows.write("flags.tsv", true)
	members.write("members.tsv", false)
}

// Folders with the feature gates that a kubelet registers: its own, and those of what it links.
var gateFolders = map[string][]string{
	"kubernetes": {"pkg/features"}, "apiserver": {"pkg/features"}, "apiextensions-apiserver": {"pkg/features"},
	"client-go": {"features"}, "component-base": {"logs/api/v1", "logs", "metrics/features", "zpages/features"},
	"cloud-provider":     {"names", "options", "pkg/features", "controllers/node", "api", "features"},
	"controller-manager": {"pkg/features", "pkg/features/register"},
}

// gates adds the feature gates of a release: constants of the type Feature.
func gates(release string, minor int, into table) {
	for name, folders := range gateFolders {
		version := "v0." + release
		if name == "kubernetes" {
			version = "v1." + release
		}
		root := module("k8s.io/" + name + "@" + version)
		if root == "" {
			// The proxy lacks two releases of the controller manager's; a gate is taken for known between those that it has.
			continue
		}
		for _, folder := range folders {
			for _, file := range read(filepath.Join(root, folder)).files {
				ast.Inspect(file, func(node ast.Node) bool {
					spec, ok := node.(*ast.ValueSpec)
					if !ok || len(spec.Values) != 1 {
						return true
					}
					kind := ""
					switch of := spec.Type.(type) {
					case *ast.SelectorExpr:
						kind = of.Sel.Name
					case *ast.Ident:
						kind = of.Name
					}
					if text, ok := literal(spec.Values[0]); ok && (kind == "Feature" || kind == "" && spec.Names[0].Name == text) {
						into.add(row{name: text, kind: "gate"}, minor)
					}
					return true
				})
			}
		}
	}
	for _, name := range []string{"AllAlpha", "AllBeta"} {
		into.add(row{name: name, kind: "gate"}, minor)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
