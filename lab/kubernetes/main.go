// One process: etcd + the real kube-apiserver + the real Deployment, ReplicaSet, StatefulSet and
// Namespace controllers + a stand-in for the kubelet that marks every bound Pod Running and Ready.
// Everything listens on one loopback address. For the lab and the integration tests.
package main

import (
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/statefulset"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fatal:", err)
		os.Exit(1)
	}
}

func main() {
	dir := flag.String("dir", "", "state folder with tokens.csv (the admin's token first) and pki/sa.key, pki/sa.pub")
	host := flag.String("host", "127.0.0.1", "loopback address of the API and of etcd")
	port := flag.Int("port", 16443, "API port")
	etcdPort := flag.Int("etcd-port", 12379, "etcd client port")
	flag.Parse()
	// An API server with etcd beside it that asks for no password must never be reachable from outside.
	if ip := net.ParseIP(*host); ip == nil || !ip.IsLoopback() {
		must(fmt.Errorf("-host %q is not a loopback address", *host))
	}
	tokens, err := os.ReadFile(filepath.Join(*dir, "tokens.csv"))
	must(err)
	token, _, _ := strings.Cut(string(tokens), ",")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	// etcd
	ec := embed.NewConfig()
	ec.Dir, ec.LogLevel, ec.UnsafeNoFsync = filepath.Join(*dir, "etcd"), "error", true
	cu, pu := url.URL{Scheme: "http", Host: net.JoinHostPort(*host, strconv.Itoa(*etcdPort))}, url.URL{Scheme: "http", Host: net.JoinHostPort(*host, strconv.Itoa(*etcdPort+1))}
	ec.ListenClientUrls, ec.AdvertiseClientUrls = []url.URL{cu}, []url.URL{cu}
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = []url.URL{pu}, []url.URL{pu}
	ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	e, err := embed.StartEtcd(ec)
	must(err)
	<-e.Server.ReadyNotify()

	// kube-apiserver
	pki := filepath.Join(*dir, "pki")
	cmd := app.NewAPIServerCommand()
	cmd.SetArgs([]string{
		"--etcd-servers=" + cu.String(), "--bind-address=" + *host, "--advertise-address=" + *host,
		fmt.Sprintf("--secure-port=%d", *port), "--cert-dir=" + pki, "--endpoint-reconciler-type=none",
		"--token-auth-file=" + filepath.Join(*dir, "tokens.csv"), "--authorization-mode=RBAC", "--anonymous-auth=false",
		"--service-cluster-ip-range=10.0.0.0/24", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + filepath.Join(pki, "sa.pub"), "--service-account-signing-key-file=" + filepath.Join(pki, "sa.key"),
		"--disable-admission-plugins=ServiceAccount", "--enable-priority-and-fairness=false", "--profiling=false",
	})
	go func() { must(cmd.ExecuteContext(ctx)) }()

	cfg := &rest.Config{Host: "https://" + net.JoinHostPort(*host, strconv.Itoa(*port)), BearerToken: token, QPS: 500, Burst: 1000}
	var cs *kubernetes.Clientset
	for {
		// The certificate's content and not its path: of a path, client-go 1.36 keeps what it read first for five minutes,
		// and it may be looked at here between its creation and its first byte.
		cfg.CAData, _ = os.ReadFile(filepath.Join(pki, "apiserver.crt"))
		if x509.NewCertPool().AppendCertsFromPEM(cfg.CAData) {
			if cs, err = kubernetes.NewForConfig(cfg); err == nil {
				if _, err = cs.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(5 * time.Second).DoRaw(ctx); err == nil {
					break
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}

	// controllers
	f := informers.NewSharedInformerFactory(cs, 0)
	dc, err := deployment.NewDeploymentController(ctx, f.Apps().V1().Deployments(), f.Apps().V1().ReplicaSets(), f.Core().V1().Pods(), cs)
	must(err)
	rs := replicaset.NewReplicaSetController(ctx, f.Apps().V1().ReplicaSets(), f.Core().V1().Pods(), cs, replicaset.BurstReplicas)
	ss := statefulset.NewStatefulSetController(ctx, f.Core().V1().Pods(), f.Apps().V1().StatefulSets(), f.Core().V1().PersistentVolumeClaims(), f.Apps().V1().ControllerRevisions(), cs)
	mc, err := metadata.NewForConfig(cfg)
	must(err)
	nc := namespace.NewNamespaceController(ctx, cs, mc, cs.Discovery().ServerPreferredNamespacedResources, f.Core().V1().Namespaces(), 5*time.Minute, v1.FinalizerKubernetes)

	// kubelet stand-in; a Pod labelled test/hold-ready=true stays Pending, and one labelled test/hold-deletion=true never
	// ends, as on a node that is cut off
	kubelet := func(obj any) {
		p, ok := obj.(*v1.Pod)
		if !ok || p.Spec.NodeName == "" {
			return
		}
		if p.DeletionTimestamp != nil {
			if p.Labels["test/hold-deletion"] == "true" {
				return
			}
			zero := int64(0)
			_ = cs.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
			return
		}
		if p.Status.Phase != v1.PodPending || p.Labels["test/hold-ready"] == "true" {
			return
		}
		now, p := metav1.Now(), p.DeepCopy()
		p.Status.Phase, p.Status.StartTime = v1.PodRunning, &now
		for _, t := range []v1.PodConditionType{v1.PodInitialized, v1.ContainersReady, v1.PodReady} {
			p.Status.Conditions = append(p.Status.Conditions, v1.PodCondition{Type: t, Status: v1.ConditionTrue, LastTransitionTime: now})
		}
		for _, c := range p.Spec.Containers {
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, v1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: true, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: now}}})
		}
		_, _ = cs.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, p, metav1.UpdateOptions{})
	}
	_, err = f.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: kubelet, UpdateFunc: func(_, n any) { kubelet(n) }})
	must(err)
	f.Start(ctx.Done())
	go dc.Run(ctx, 5)
	go rs.Run(ctx, 5)
	go ss.Run(ctx, 5)
	go nc.Run(ctx, 2)
	must(os.WriteFile(filepath.Join(*dir, "ready"), []byte("ok\n"), 0o600))
	<-ctx.Done()
	time.Sleep(300 * time.Millisecond)
	e.Close()
}
