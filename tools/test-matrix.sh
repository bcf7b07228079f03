#!/usr/bin/env bash
# Runs the tests as other processors would: with the kernels of older ones (PyTorch's, oneDNN's and OpenBLAS's), with
# 1, 2 and 3 threads, classes and methods in random order. Prints which tests failed where; 1 if any did, or a JVM died.
#
#   tools/test-matrix.sh                            every test, every combination (half an hour each on two cores)
#   tools/test-matrix.sh -pl flow -am               what follows goes on to Maven
#   ONLY="oldest own" SEED=7 tools/test-matrix.sh   some combinations, in the order of an earlier run
#
# Logs and reports stay in target/test-matrix. Run it before a release and after touching tolerances.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# name, processor flag it takes, PyTorch's, oneDNN's and OpenBLAS's instruction set (-: the machine's own), threads
combinations="
oldest sse4_1  default SSE41       Nehalem  3
avx    avx     default AVX         Sandybridge 2
avx2   avx2    avx2    AVX2        Haswell  1
avx512 avx512f avx512  AVX512_CORE SkylakeX 2
own    -       -       -           -        2
"
for name in ${ONLY:-}; do
  grep -q "^$name " <<<"$combinations" || { echo "no combination is called $name; there are:$combinations" >&2; exit 2; }
done
seed="${SEED:-$RANDOM}"
out=target/test-matrix
rm -rf "$out"
mkdir -p "$out"

# The tests of a folder of Surefire's reports that failed, one a line, however often their messages say "<error".
failed() {
  find "$1" -name 'TEST-*.xml' -exec sed -nE \
    -e '/<testcase /{s/.*<testcase name="([^"]*)" classname="([^"]*)".*/\2.\1/;h}' \
    -e '/^ *<(failure|error)[ >]/{x;/./p;s/.*//;x}' {} +
}

printf '%-10s %6s %7s %8s   seed %s\n' combination tests failed minutes "$seed"
while read -r name flag aten dnnl blas threads; do
  [ -n "$name" ] && [[ " ${ONLY:-$name} " == *" $name "* ]] || continue
  if [ "$flag" != - ] && ! grep -qw "$flag" /proc/cpuinfo; then
    printf '%-10s skipped: this processor has no %s\n' "$name" "$flag"
    continue
  fi
  settings=(OMP_NUM_THREADS="$threads")
  [ "$aten" = - ] || settings+=(ATEN_CPU_CAPABILITY="$aten" DNNL_MAX_CPU_ISA="$dnnl" OPENBLAS_CORETYPE="$blas")
  rm -rf ./*/target/surefire-reports
  began=$SECONDS
  env "${settings[@]}" mvn -B -Dspotless.check.skip -Dmaven.test.failure.ignore \
    '-Djunit.jupiter.testclass.order.default=org.junit.jupiter.api.ClassOrderer$Random' \
    '-Djunit.jupiter.testmethod.order.default=org.junit.jupiter.api.MethodOrderer$Random' \
    -Djunit.jupiter.execution.order.random.seed="$seed" \
    test "$@" >"$out/$name.log" 2>&1 </dev/null || echo "Maven itself, see $out/$name.log  ($name)" >>"$out/failed"
  mkdir "$out/$name"
  for reports in */target/surefire-reports; do
    [ ! -d "$reports" ] || cp -r "$reports" "$out/$name/${reports%%/*}"
  done
  failed "$out/$name" | sed "s/$/  ($name)/" >>"$out/failed"
  printf '%-10s %6d %7d %8d\n' "$name" \
    "$(cat "$out/$name"/*/TEST-*.xml | grep -c '<testcase ')" \
    "$(grep -c "($name)$" "$out/failed")" $(((SECONDS - began + 30) / 60))
done <<<"$combinations"

[ -s "$out/failed" ] || exit 0
echo
sort "$out/failed"
exit 1
