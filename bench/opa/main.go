// Evaluates a policy with OPA's Go library as often as it can in some seconds, for the benchmark beside it.
//
// Prints two numbers, in nanoseconds: one evaluation of an input that is parsed, and one of an input that is bytes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

const rounds = 5

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: opa POLICY INPUT FINDINGS"))
	}
	policy, input := read(os.Args[1]), read(os.Args[2])
	ctx := context.Background()
	query, err := rego.New(rego.Query("data.bailiwick.deny"), rego.Module("policy.rego", string(policy))).PrepareForEval(ctx)
	check(err)
	parsed := parse(input)
	// Both have to find the same, or nothing is compared.
	result, err := query.Eval(ctx, rego.EvalParsedInput(parsed))
	check(err)
	findings := result[0].Expressions[0].Value.([]any)
	if fmt.Sprint(len(findings)) != os.Args[3] {
		fail(fmt.Errorf("%d findings instead of %s", len(findings), os.Args[3]))
	}
	fmt.Println(best(func() {
		_, err := query.Eval(ctx, rego.EvalParsedInput(parsed))
		check(err)
	}), best(func() {
		_, err := query.Eval(ctx, rego.EvalParsedInput(parse(input)))
		check(err)
	}))
}

func parse(input []byte) ast.Value {
	var review any
	check(json.Unmarshal(input, &review))
	value, err := ast.InterfaceToValue(review)
	check(err)
	return value
}

func best(run func()) int64 {
	least := int64(1) << 62
	for range rounds {
		begin, count := time.Now(), int64(0)
		for time.Since(begin) < 700*time.Millisecond {
			run()
			count++
		}
		least = min(least, time.Since(begin).Nanoseconds()/count)
	}
	return least
}

func read(path string) []byte {
	text, err := os.ReadFile(path)
	check(err)
	return text
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
