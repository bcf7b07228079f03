package org.perflow.cli;

import org.perflow.accelerate.Doctor;
import picocli.CommandLine.Command;

/** {@code perflow doctor}. */
@Command(
    name = "doctor",
    description =
        "Says what this machine is, what of it is used and why: processor, threads, libraries, the"
            + " type that networks compute in, memory, and whether caches can be written. Send it"
            + " along with a report of a fault.",
    footer = {"", "Examples:", "  perflow doctor", "  perflow doctor --json"})
final class DoctorCommand extends Verb {
  @Override
  void run() throws Exception {
    Doctor found = Doctor.look();
    report(found, found.text());
  }
}
