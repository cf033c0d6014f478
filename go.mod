module mimigate

go 1.26.0
