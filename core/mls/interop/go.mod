module mimigate/core/mls/interop

go 1.26.0

require github.com/thomas-vilte/mls-go v1.6.0

replace mimigate => ../../..
