module mimigate/core/mls/interop

go 1.26.0

require (
	github.com/thomas-vilte/mls-go v1.6.0
	mimigate v0.0.0-00010101000000-000000000000
)

require (
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace mimigate => ../../..
