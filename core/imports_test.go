// Package core_test holds the rules that every package of mimigate obeys: the import table of the design (§3) and the
// budgets of its structure (§11). It reads the source files themselves, so that no build tag hides anything from it.
package core_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "mimigate/"

// imports is the table of design §3: which of our packages a package may import outside its tests. A package below one
// of these, which has no line of its own, is part of it. "core/*" stands for every package under core, "bridges/*"
// for every network's.
var imports = map[string][]string{
	"core/uri":      nil,
	"core/mls":      nil,
	"core/policy":   nil,
	"core/content":  {"core/uri"},
	"core/mimi":     {"core/uri", "core/mls"},
	"core/room":     {"core/uri", "core/policy", "core/mls"},
	"core/adapter":  {"core/uri", "core/content"},
	"core/identity": {"core/uri", "core/adapter"},
	"core/hub":      {"core/uri", "core/mls", "core/mimi", "core/room", "core/policy"},
	"core/follower": {"core/uri", "core/mimi"},
	"core/member":   {"core/uri", "core/mls", "core/mimi", "core/room", "core/policy", "core/content"},
	"core/router":   {"core/uri", "core/content", "core/adapter", "core/identity"},
	"core/provider": {"core/uri", "core/mimi"},
	"core/store": {"core/uri", "core/mls", "core/policy", "core/content", "core/mimi", "core/room", "core/adapter",
		"core/identity", "core/hub", "core/follower", "core/member", "core/router", "core/provider"},
	"core/config":  {"core/adapter", "core/uri"},
	"core/gateway": {"core/*"},

	// The suite every adapter passes, and real servers for tests: nothing but tests imports them.
	"core/adapter/adaptertest":         {"core/adapter", "core/content", "core/uri"},
	"core/adapter/adaptertest/servers": nil,

	"bridges":   {"bridges/*", "core/adapter"},
	"bridges/*": {"core/adapter", "core/content", "core/uri"},
	"cmd":       {"bridges", "core/gateway", "core/config"},
}

// testOnly are the packages that only tests (and each other) import.
var testOnly = []string{"core/adapter/adaptertest", "core/adapter/adaptertest/servers"}

// pure are the packages that do no I/O and read no clock but one that a test can replace (design §2): what they may
// therefore not import or call. Such a clock's default, a call in a function named now, is allowed.
var (
	pure      = []string{"core/uri", "core/mls", "core/content", "core/policy"}
	impureLib = []string{"os", "os/exec", "net", "net/http", "database/sql", "syscall", "log", "log/slog", "io/ioutil", "math/rand", "math/rand/v2"}
)

// The budgets of design §11, in lines and methods.
const (
	funcP95, funcMax           = 60, 150
	fileP95, fileMax           = 500, 1000
	packageMax, mlsMax         = 2500, 8000
	methodsMedian, methodsMax  = 1, 6
	mainFile, mainFileMaxLines = "cmd/mimigate/main.go", 60
)

// source is one parsed Go file of ours, whatever its build tags.
type source struct {
	path      string // from the repository's root, with slashes
	pkg       string // the directory, from the repository's root
	test      bool
	generated bool
	lines     int
	file      *ast.File
}

var fset = token.NewFileSet()

// load parses every Go file of the product: the nested modules, which have a go.mod of their own, are left out.
func load(t *testing.T) []source {
	t.Helper()
	root := ".."
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != root && (base[0] == '.' || base == "testdata" || base == "node_modules" || exists(filepath.Join(name, "go.mod"))) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		all = append(all, source{
			path: rel, pkg: path.Dir(rel), file: f, lines: strings.Count(string(text), "\n"),
			test: strings.HasSuffix(rel, "_test.go"), generated: ast.IsGenerated(f),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go file found")
	}
	return all
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// product is load without tests and generated files.
func product(t *testing.T) []source {
	return slices.DeleteFunc(load(t), func(s source) bool { return s.test || s.generated })
}

// ours returns the packages of this module that a file imports, from the repository's root.
func ours(f *ast.File) []string {
	var list []string
	for _, i := range f.Imports {
		if p, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module); ok {
			list = append(list, p)
		}
	}
	return list
}

// line finds a package's line in the table: the longest one it is, or is below; "" where there is none.
func line(pkg string) string {
	for p := pkg; p != "."; p = path.Dir(p) {
		if path.Dir(p) == "bridges" {
			return p
		}
		if _, ok := imports[p]; ok {
			return p
		}
	}
	return ""
}

// allowed says whether the package pkg may import the package of ours dep outside its tests, and if not, why.
func allowed(pkg, dep string) error {
	from, to := line(pkg), line(dep)
	switch {
	case from == "":
		return fmt.Errorf("%s is in no line of the table", pkg)
	case to == "":
		return fmt.Errorf("%s is in no line of the table", dep)
	case from == to:
		return nil
	case slices.Contains(testOnly, to) && !slices.Contains(testOnly, from):
		return fmt.Errorf("%s is for tests only", to)
	}
	may := imports[from]
	if path.Dir(from) == "bridges" {
		may = imports["bridges/*"]
	}
	for _, m := range may {
		if m == to || strings.HasSuffix(m, "/*") && strings.HasPrefix(to, strings.TrimSuffix(m, "*")) {
			return nil
		}
	}
	return fmt.Errorf("%s may import %v", from, may)
}

func TestImports(t *testing.T) {
	for _, s := range load(t) {
		if line(s.pkg) == "" && !(s.test && s.pkg == "core") {
			t.Errorf("%s: package %s is in no line of the table of design §3", s.path, s.pkg)
			continue
		}
		if s.test {
			continue
		}
		for _, dep := range ours(s.file) {
			if err := allowed(s.pkg, dep); err != nil {
				t.Errorf("%s imports %s, against design §3: %v", s.path, dep, err)
			}
		}
	}
}

// The table itself says no where it must: without this, a mistake in allowed would let everything pass.
func TestImportsRefused(t *testing.T) {
	for _, c := range []struct {
		pkg, dep string
		ok       bool
	}{
		{"core/router", "core/adapter", true},
		{"core/router", "core/mls", false},
		{"core/hub", "core/content", false},
		{"core/mls", "core/uri", false},
		{"core/mls/internal/tree", "core/mls", true},
		{"core/gateway", "core/store", true},
		{"core/gateway", "bridges", false},
		{"core/gateway", "core/adapter/adaptertest", false},
		{"core/router", "core/store", false},
		{"bridges", "bridges/matrix", true},
		{"bridges/matrix", "bridges/xmpp", false},
		{"bridges/matrix", "core/content", true},
		{"bridges/matrix", "core/mls", false},
		{"bridges/matrix", "core/adapter/adaptertest/servers", false},
		{"core/adapter/adaptertest", "core/adapter", true},
		{"cmd/mimigate", "core/gateway", true},
		{"cmd/mimigate", "core/store", false},
		{"core/unheard", "core/uri", false},
		{"core/gateway", "core/unheard", false},
	} {
		if err := allowed(c.pkg, c.dep); (err == nil) != c.ok {
			t.Errorf("%s imports %s: got %v, want allowed = %v", c.pkg, c.dep, err, c.ok)
		}
	}
}

func TestPure(t *testing.T) {
	for _, s := range product(t) {
		if !slices.Contains(pure, line(s.pkg)) {
			continue
		}
		for _, i := range s.file.Imports {
			if lib := strings.Trim(i.Path.Value, `"`); slices.Contains(impureLib, lib) {
				t.Errorf("%s imports %s: %s is pure (design §2)", s.path, lib, line(s.pkg))
			}
		}
		for _, n := range []string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker", "AfterFunc"} {
			for _, pos := range selectors(s.file, "time", n) {
				if n == "Now" && functionAt(s.file, pos) == "now" {
					continue
				}
				t.Errorf("%s: time.%s: %s is pure (design §2)", fset.Position(pos), n, line(s.pkg))
			}
		}
	}
}

// functionAt is the name of the function or method around a position.
func functionAt(f *ast.File, pos token.Pos) string {
	for _, d := range f.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Pos() <= pos && pos < f.End() {
			return f.Name.Name
		}
	}
	return ""
}

// selectors returns where a file uses lib.name, under whatever name it imports lib.
func selectors(f *ast.File, lib, name string) []token.Pos {
	local := ""
	for _, i := range f.Imports {
		if strings.Trim(i.Path.Value, `"`) == lib {
			local = path.Base(lib)
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	var found []token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == name {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
				found = append(found, s.Pos())
			}
		}
		return true
	})
	return found
}

// The hub holds no member secrets: it names mls.PublicGroup, never mls.Group nor a function of mls that returns one.
func TestHubNamesNoGroup(t *testing.T) {
	all := product(t)
	forbidden := map[string]bool{"Group": true}
	for _, s := range all {
		if s.pkg != "core/mls" {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || f.Type.Results == nil {
				continue
			}
			ast.Inspect(f.Type.Results, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && id.Name == "Group" {
					forbidden[f.Name.Name] = true
				}
				return true
			})
		}
	}
	for _, s := range all {
		if line(s.pkg) != "core/hub" {
			continue
		}
		for name := range forbidden {
			for _, pos := range selectors(s.file, module+"core/mls", name) {
				t.Errorf("%s: the hub uses mls.%s (design §3)", fset.Position(pos), name)
			}
		}
	}
}

// sized is a thing with its size, for a budget's message.
type sized struct {
	name string
	size int
}

// budget fails the test for all that is larger than max, and where more than one in twenty is larger than p95.
func budget(t *testing.T, what string, all []sized, p95, limit int) {
	t.Helper()
	if len(all) == 0 {
		t.Fatalf("no %s found", what)
	}
	slices.SortFunc(all, func(a, b sized) int { return a.size - b.size })
	for _, s := range all {
		if s.size > limit {
			t.Errorf("%s: %d lines; a %s has at most %d (design §11)", s.name, s.size, what, limit)
		}
	}
	at := all[(len(all)*95+99)/100-1]
	t.Logf("%d of %s: median %d, p95 %d, longest %d (%s)", len(all), what, all[(len(all)-1)/2].size, at.size, all[len(all)-1].size, all[len(all)-1].name)
	if at.size > p95 {
		t.Errorf("%s: p95 is %d lines, at most %d (design §11); the longest:", what, at.size, p95)
		for _, s := range all[max(0, len(all)-15):] {
			t.Errorf("  %d %s", s.size, s.name)
		}
	}
}

func TestLengths(t *testing.T) {
	var functions, files []sized
	packages := map[string]int{}
	for _, s := range product(t) {
		files = append(files, sized{s.path, s.lines})
		packages[s.pkg] += s.lines
		if s.path == mainFile && s.lines > mainFileMaxLines {
			t.Errorf("%s: %d lines, at most %d (design §2)", s.path, s.lines, mainFileMaxLines)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				from, to := fset.Position(f.Pos()), fset.Position(f.End())
				functions = append(functions, sized{fmt.Sprintf("%s:%d %s", s.path, from.Line, f.Name.Name), to.Line - from.Line + 1})
			}
		}
	}
	budget(t, "function", functions, funcP95, funcMax)
	budget(t, "file", files, fileP95, fileMax)
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		limit := packageMax
		if pkg == "core/mls" {
			limit = mlsMax
		}
		t.Logf("%s: %d lines", pkg, packages[pkg])
		if packages[pkg] > limit {
			t.Errorf("%s: %d lines; it has at most %d (design §11)", pkg, packages[pkg], limit)
		}
	}
}

func TestInterfaces(t *testing.T) {
	var contracts, all []sized
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				ts, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				i, ok := ts.Type.(*ast.InterfaceType)
				if !ok || methods(i) == 0 {
					continue
				}
				one := sized{fmt.Sprintf("%s %s", s.path, ts.Name.Name), methods(i)}
				all = append(all, one)
				if !storage(s.path) {
					contracts = append(contracts, one)
				}
			}
		}
	}
	if len(contracts) == 0 {
		return // no interface, no budget
	}
	slices.SortFunc(contracts, func(a, b sized) int { return a.size - b.size })
	median := contracts[(len(contracts)-1)/2]
	t.Logf("%d interfaces; %d contracts of behaviour: median %d", len(all), len(contracts), median.size)
	if median.size > methodsMedian {
		t.Errorf("the median interface has %d methods, at most %d (design §11): %v", median.size, methodsMedian, contracts)
	}
	for _, s := range all {
		if s.size > methodsMax {
			t.Errorf("%s has %d methods; an interface has at most %d (design §11)", s.name, s.size, methodsMax)
		}
	}
}

// storage reports the files in which a consumer lists what it needs of the store (design §3), a row's put and get
// together. They are held to the largest size, not to the median.
func storage(path string) bool {
	return strings.HasSuffix(path, "/store.go") || strings.Contains(path, "/record/") || strings.Contains(path, "core/follower/") ||
		strings.HasSuffix(path, "core/identity/identity.go")
}

func methods(i *ast.InterfaceType) int {
	n := 0
	for _, f := range i.Methods.List {
		switch f.Type.(type) {
		case *ast.FuncType:
			n += len(f.Names)
		case *ast.Ident, *ast.SelectorExpr, *ast.IndexExpr:
			n++
		}
	}
	return n
}

func TestNoInit(t *testing.T) {
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init() (design §11)", fset.Position(f.Pos()))
			}
		}
		for _, i := range s.file.Imports {
			if lib := strings.Trim(i.Path.Value, `"`); i.Name != nil && i.Name.Name == "_" && lib != "embed" && line(s.pkg) != "core/store" {
				t.Errorf("%s: blank import of %s, which only database drivers need (design §2)", s.path, lib)
			}
		}
	}
}

// Nothing waits by sleeping: tests poll with a deadline, or sleep in the false time of a synctest bubble.
func TestNoSleep(t *testing.T) {
	for _, s := range load(t) {
		bubble := slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
		if s.test && bubble {
			continue
		}
		for _, pos := range selectors(s.file, "time", "Sleep") {
			t.Errorf("%s: time.Sleep", fset.Position(pos))
		}
	}
}

func TestDocumented(t *testing.T) {
	packages := map[string]bool{}
	for _, s := range product(t) {
		packages[s.pkg] = packages[s.pkg] || s.file.Doc != nil
		for _, d := range s.file.Decls {
			for _, id := range undocumented(d) {
				t.Errorf("%s: %s has no doc comment (design §11)", fset.Position(id.Pos()), id.Name)
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		if !packages[pkg] {
			t.Errorf("package %s has no package comment (design §11)", pkg)
		}
	}
}

// undocumented returns the exported names that a declaration introduces without a word about them: functions, methods
// of exported types, types, methods of interfaces, constants and variables. A comment on a group speaks for the group.
func undocumented(d ast.Decl) []*ast.Ident {
	var bare []*ast.Ident
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || receiverExported(d.Recv)) {
			bare = append(bare, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					bare = append(bare, spec.Names...)
				}
			case *ast.TypeSpec:
				if d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					bare = append(bare, spec.Name)
				}
				if i, ok := spec.Type.(*ast.InterfaceType); ok && spec.Name.IsExported() {
					for _, f := range i.Methods.List {
						if f.Doc == nil && f.Comment == nil && len(i.Methods.List) > 1 {
							bare = append(bare, f.Names...)
						}
					}
				}
			}
		}
	}
	return slices.DeleteFunc(bare, func(id *ast.Ident) bool { return !id.IsExported() })
}

func receiverExported(recv *ast.FieldList) bool {
	exported := false
	ast.Inspect(recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			exported = id.IsExported()
			return false
		}
		return !exported
	})
	return exported
}
