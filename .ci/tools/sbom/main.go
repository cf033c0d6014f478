// Command sbom writes what a Go binary is made of, as CycloneDX 1.6 in JSON: what the Go command has recorded in the binary itself, and
// nothing that would need a network.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
)

type document struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sbom BINARY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	purl := func(module, version string) string { return "pkg:golang/" + module + "@" + version }
	main := purl(info.Main.Path, info.Main.Version)
	d := document{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{
		Component: component{Type: "application", Ref: main, Name: info.Main.Path, Version: info.Main.Version, PURL: main}}}
	for _, s := range info.Settings {
		d.Metadata.Properties = append(d.Metadata.Properties, property{"go:build:" + s.Key, s.Value})
	}
	std := purl("std", info.GoVersion)
	d.Components = append(d.Components, component{Type: "library", Ref: std, Name: "std", Version: info.GoVersion, PURL: std})
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		p := purl(m.Path, m.Version)
		d.Components = append(d.Components, component{Type: "library", Ref: p, Name: m.Path, Version: m.Version, PURL: p,
			Properties: []property{{"go:sum", m.Sum}}})
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(d)
}
