package org.perflow.cli.options;

/** A verb that adds {@link RecordOptions} to its own once picocli has made its spec. */
public interface OptionsFromRecords {
  void addOptions();
}
