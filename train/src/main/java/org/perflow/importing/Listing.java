package org.perflow.importing;

import java.util.ArrayList;
import java.util.List;
import org.perflow.importing.LeftOut.Why;

/** What sources have, gathered in the order of naming. One thread. */
final class Listing {
  private final List<Entry> entries = new ArrayList<>();
  private final List<LeftOut> leftOut = new ArrayList<>();

  void add(Entry entry) {
    entries.add(entry);
  }

  void leaveOut(String name, Why why, String reason) {
    leftOut.add(new LeftOut(name, why, reason));
  }

  List<Entry> entries() {
    return entries;
  }

  List<LeftOut> leftOut() {
    return leftOut;
  }
}
