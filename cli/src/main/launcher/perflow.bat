@echo off
rem Runs perflow from an unpacked archive, to which it writes nothing. See perflow --help
setlocal
for %%i in ("%~dp0..") do set "PERFLOW_HOME=%%~fi"

rem A Java: the archive's own where it has one, else JAVA_HOME's, else the one on the PATH.
set "java=java.exe"
if defined JAVA_HOME set "java=%JAVA_HOME%\bin\java.exe"
if exist "%PERFLOW_HOME%\runtime\bin\java.exe" set "java=%PERFLOW_HOME%\runtime\bin\java.exe"
set "version="
for /f "tokens=2 delims=.- " %%v in ('call "%java%" --version 2^>nul') do if not defined version set "version=%%v"
if not defined version set "version=0"
if %version% lss 17 (
  echo perflow: "%java%" is no Java 17 or newer; install one, or set JAVA_HOME to one 1>&2
  exit /b 1
)

set "flags="
if %version% geq 24 set "flags=--enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow"
set "cache=%XDG_CACHE_HOME%"
if not defined cache set "cache=%USERPROFILE%\.cache"
rem OpenMP's threads spinning would take the cores from OpenBLAS's.
if not defined OMP_WAIT_POLICY set "OMP_WAIT_POLICY=PASSIVE"
rem PERFLOW_JAVA_OPTS (say, -Xmx8g) comes last, so it wins.
"%java%" "@%PERFLOW_HOME%\lib\jvm.options" "-Dorg.bytedeco.javacpp.cachedir=%cache%\perflow\native" %flags% ^
  %PERFLOW_JAVA_OPTS% -cp "%PERFLOW_HOME%\lib\*" org.perflow.cli.Main %*
exit /b %errorlevel%
