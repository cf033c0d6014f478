module mimigate

go 1.26.0

require (
	github.com/mattn/go-sqlite3 v1.14.49
	golang.org/x/crypto v0.55.0
)

require github.com/x448/float16 v0.8.4 // indirect

require (
	github.com/fxamacker/cbor/v2 v2.9.0
	github.com/rivo/uniseg v0.4.7
	github.com/yuin/goldmark v1.8.5
	golang.org/x/net v0.58.0
	golang.org/x/sys v0.47.0 // indirect
)
