package org.perflow.cli;

/** A verb that adds {@link RecordOptions} to its own once picocli has made its spec. */
interface OptionsFromRecords {
  void addOptions();
}
