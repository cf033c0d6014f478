pidfile = "{{.Dir}}/prosody.pid"
data_path = "{{.Dir}}/data"
certificates = "{{.Dir}}/certs"
admin_socket = "{{.Dir}}/prosody.sock"
run_as_root = true
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { {{.Client}} }
c2s_direct_tls_ports = {}
s2s_ports = {}
component_ports = { {{.Component}} }
component_interfaces = { "127.0.0.1" }
http_ports = { {{.HTTP}} }
http_interfaces = { "127.0.0.1" }
https_ports = {}
modules_enabled = { "roster", "saslauth", "disco", "carbons", "pep", "private", "blocklist", "vcard4", "vcard_legacy", "version", "ping", "mam", "smacks", "csi_simple", "bookmarks", "admin_shell", "posix", "time", "offline" }
modules_disabled = { "s2s", "tls" }
c2s_require_encryption = false
s2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
default_iteration_count = 4096
storage = "internal"
archive_expires_after = "1w"
default_archive_policy = true
log = { { levels = { min = "info" }, to = "console" } }
http_host = "127.0.0.1"
http_external_url = "http://127.0.0.1:{{.HTTP}}/"

VirtualHost "{{.Domain}}"
Component "muc.{{.Domain}}" "muc"
  modules_enabled = { "muc_mam" }
  muc_log_by_default = true
  muc_room_default_persistent = true
  muc_room_default_public = true
  muc_room_locking = false
  restrict_room_creation = false
  muc_tombstones = false
Component "plain.{{.Domain}}" "muc"
  muc_room_default_persistent = true
  muc_room_locking = false
  restrict_room_creation = false
  muc_tombstones = false
Component "upload.{{.Domain}}" "http_file_share"
  http_file_share_size_limit = 104857600
{{range .Components}}
Component "{{.JID}}"
  component_secret = "{{.Secret}}"
{{end}}
