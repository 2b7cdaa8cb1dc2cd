// The one program of the Pods that the tests run on a real node. It needs nothing but Go itself.
module bailiwick.dev/e2e/workload

go 1.26.0
