# Starts the JVM. Read by bin/perflow of an archive and by ./perflow of the source folder, which set PERFLOW_HOME:
# the folder of the models and data that come with perflow.

fail() {
  echo "perflow: $1" >&2
  exit 1
}

# A Java: the archive's own where it has one, else JAVA_HOME's, else the one on the PATH.
if [ -x "$PERFLOW_HOME/runtime/bin/java" ]; then
  java="$PERFLOW_HOME/runtime/bin/java"
elif [ -n "${JAVA_HOME:-}" ]; then
  java="$JAVA_HOME/bin/java"
  [ -x "$java" ] || fail "JAVA_HOME is $JAVA_HOME, but there is no bin/java in it; set it to Java 17 or newer"
else
  java="$(command -v java)" || fail "no java found; install Java 17 or newer, or set JAVA_HOME to one"
fi
version="$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)"
case "$version" in
  '' | *[!0-9]*) fail "cannot tell the version of $java; set JAVA_HOME to Java 17 or newer" ;;
esac
[ "$version" -ge 17 ] || fail "$java is Java $version; 17 or newer is needed (set JAVA_HOME to one)"

# launch CLASS_PATH CACHE ARGUMENT...: CACHE is where the JVM unpacks native libraries.
launch() {
  local flags=("@$(dirname "${BASH_SOURCE[0]}")/jvm.options" "-Dorg.bytedeco.javacpp.cachedir=$2")
  [ "$version" -lt 24 ] || flags+=(--enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow)
  # Huge pages for all that malloc takes from the system, where it gives them on request. glibc reads it before main; all
  # else that makes libtorch fast the library sets itself (NativeSettings).
  export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
  # PERFLOW_JAVA_OPTS (say, -Xmx8g) comes last, so it wins.
  # shellcheck disable=SC2086
  exec "$java" "${flags[@]}" ${PERFLOW_JAVA_OPTS:-} -cp "$1" org.perflow.cli.Main "${@:3}"
}
