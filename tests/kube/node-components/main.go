// kubenode kubelet|kube-proxy|coredns ...: a node's real components, and the cluster's DNS server, in one binary.
package main

import (
	"context"
	"os"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	"k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	var c *cobra.Command
	name := os.Args[1]
	os.Args = os.Args[1:]
	switch name {
	case "coredns":
		dnsserver.Directives = []string{"errors", "cache", "kubernetes"}
		coremain.Run()
		return
	case "kube-proxy":
		c = proxy.NewProxyCommand()
	default:
		c = app.NewKubeletCommand(context.Background())
	}
	os.Exit(cli.Run(c))
}
