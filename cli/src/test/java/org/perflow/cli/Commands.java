package org.perflow.cli;

import java.io.PrintWriter;
import java.io.StringWriter;

/** Runs a command line in this process. */
record Commands(int exitCode, String out, String err) {

  static Commands run(String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int exitCode =
        Main.commandLine()
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true))
            .execute(args);
    return new Commands(exitCode, out.toString(), err.toString());
  }
}
