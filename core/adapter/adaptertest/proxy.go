package adaptertest

import (
	"net"
	"sync"
	"testing"
)

// Proxy is a Link for everything that runs over TCP: the account is given the proxy's address in place of the server's.
type Proxy struct {
	target string
	addr   string

	mu        sync.Mutex
	condition Condition
	changed   chan struct{} // closed at each change of condition
	listener  net.Listener
	pipes     map[*pipe]bool
	running   sync.WaitGroup
}

// pipe is one connection through the proxy.
type pipe struct {
	account, server net.Conn
	lost            bool // octets of the server were thrown away; guarded by Proxy.mu
}

var _ Link = (*Proxy)(nil)

// NewProxy starts a proxy before the server at target (host:port) that ends with the test.
func NewProxy(t *testing.T, target string) *Proxy {
	t.Helper()
	p := &Proxy{target: target, changed: make(chan struct{}), pipes: map[*pipe]bool{}}
	if err := p.listen("127.0.0.1:0"); err != nil {
		t.Fatalf("proxy: %v", err)
	}
	p.addr = p.listener.Addr().String()
	t.Cleanup(func() {
		p.Set(Down)
		p.running.Wait()
	})
	return p
}

// Addr is the address of the proxy, host:port. It stays the same when the link was Down.
func (p *Proxy) Addr() string { return p.addr }

// Set changes the condition. Down resets every connection. After Deaf, connections that lost something are reset.
func (p *Proxy) Set(c Condition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.condition
	p.condition = c
	for each := range p.pipes {
		if c == Down || c != Deaf && each.lost {
			each.reset()
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
	if c == Down && before != Down {
		_ = p.listener.Close()
	}
	if c != Down && before == Down {
		if err := p.listen(p.addr); err != nil {
			panic("adaptertest: the proxy's port was taken while the link was down: " + err.Error())
		}
	}
}

// listen starts to accept; p.mu is held, or nobody knows p yet.
func (p *Proxy) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	p.listener = l
	p.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(conn) })
		}
	})
	return nil
}

func (p *Proxy) serve(account net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = account.Close()
		return
	}
	each := &pipe{account: account, server: server}
	p.mu.Lock()
	if p.condition == Down {
		each.reset()
	}
	p.pipes[each] = true
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { p.toServer(each) })
	both.Go(func() { p.toAccount(each) })
	both.Wait()
	p.mu.Lock()
	delete(p.pipes, each)
	p.mu.Unlock()
}

// toServer passes on what the account sends, waiting while the link is Slow.
func (p *Proxy) toServer(each *pipe) {
	defer each.server.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := each.account.Read(buf)
		for n > 0 {
			p.mu.Lock()
			condition, changed := p.condition, p.changed
			p.mu.Unlock()
			if condition == Slow {
				<-changed
				continue
			}
			if condition == Down {
				return
			}
			if _, err := each.server.Write(buf[:n]); err != nil {
				return
			}
			n = 0
		}
		if err != nil {
			return
		}
	}
}

// toAccount passes on what the server sends, or throws it away while the link is Deaf.
func (p *Proxy) toAccount(each *pipe) {
	defer each.account.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := each.server.Read(buf)
		if n > 0 {
			p.mu.Lock()
			each.lost = each.lost || p.condition == Deaf
			lost := each.lost
			p.mu.Unlock()
			if !lost {
				if _, err := each.account.Write(buf[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// reset ends both sides without flushing: what is under way is lost.
func (e *pipe) reset() {
	for _, c := range []net.Conn{e.account, e.server} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}
