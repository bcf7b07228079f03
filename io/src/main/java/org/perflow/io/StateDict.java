package org.perflow.io;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Pickle.Foreign;

/**
 * The weights among all that a checkpoint holds: trainers put them into dictionaries of
 * dictionaries, beside averages of them and their optimiser's state.
 *
 * @param place where they were found
 */
record StateDict(Place place, Map<String, StoredTensor> tensors) {
  private static final String USUAL = "state_dict";
  private static final Pattern TRAINING = Pattern.compile("(?i).*(optim|sched|scaler).*");
  private static final Pattern AVERAGED = Pattern.compile("(?i)(.*[._])?ema(_?\\d+)?([._].*)?");
  private static final int DEEPEST = 32;
  private static final int MOST = 100;

  /** A value, and by which keys it is reached. */
  record Place(@Nullable Place outer, String key, Object value, int depth) {
    /** Keys from the outermost dictionary, with dots; empty for that one itself. */
    String path() {
      if (outer == null) {
        return "";
      }
      String before = outer.path();
      String last = key.length() > 100 ? key.substring(0, 100) : key;
      return before.isEmpty() ? last : before + "." + last;
    }

    boolean isIn(Place other) {
      return this == other || outer != null && outer.isIn(other);
    }
  }

  /**
   * The weights in {@code value}: of several dictionaries of tensors the one called {@code
   * state_dict}; averages (EMA) only where there is nothing else.
   *
   * @throws FormatException where there is none, or several of equal right
   */
  static StateDict in(@Nullable Object value) throws FormatException {
    List<StateDict> all = all(value);
    List<StateDict> own = orElse(all, all.stream().filter(dict -> !dict.isAveraged()).toList());
    List<StateDict> whole = own.stream().filter(dict -> !dict.isAround(own)).toList();
    List<StateDict> usual =
        whole.stream().filter(dict -> dict.place.key.equals(USUAL)).limit(2).toList();
    List<StateDict> found = usual.size() == 1 ? usual : whole;
    if (found.isEmpty()) {
      throw new FormatException("holds no dictionary of tensors");
    }
    if (found.size() > 1) {
      throw new FormatException(
          "holds several dictionaries of tensors: %s%s; save the one to use, on its own"
              .formatted(
                  String.join(", ", found.stream().map(StateDict::path).limit(5).toList()),
                  found.size() > 5 ? " and others" : ""));
    }
    return found.get(0);
  }

  private static List<StateDict> orElse(List<StateDict> all, List<StateDict> better) {
    return better.isEmpty() ? all : better;
  }

  /**
   * The outermost dictionaries that have tensors in them, each once: a pickle may go in circles.
   */
  private static List<StateDict> all(@Nullable Object value) throws FormatException {
    List<StateDict> found = new ArrayList<>();
    Set<Object> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    Queue<Place> open = new ArrayDeque<>();
    open.add(new Place(null, "", Collections.singletonList(value), -1));
    for (Place at = open.poll(); at != null && found.size() < MOST; at = open.poll()) {
      if (!seen.add(at.value) || at.depth > DEEPEST) {
        continue;
      }
      if (at.value instanceof List<?> list) {
        for (int i = 0; i < list.size(); i++) {
          open(open, at, at.outer == null ? "" : "" + i, list.get(i));
        }
        continue;
      }
      Map<String, StoredTensor> tensors = new LinkedHashMap<>();
      Map<?, ?> parts = at.value instanceof Foreign made ? made.parts() : (Map<?, ?>) at.value;
      for (var part : parts.entrySet()) {
        if (part.getValue() instanceof StoredTensor stored) {
          tensors.put((String) part.getKey(), stored);
        } else {
          open(open, at, (String) part.getKey(), part.getValue());
        }
      }
      if (!tensors.isEmpty()) {
        refuseUnread(parts);
        found.add(new StateDict(at, tensors));
      }
    }
    return found;
  }

  private static void open(Queue<Place> open, Place outer, String key, Object value) {
    boolean holds = value instanceof Map || value instanceof List || value instanceof Foreign;
    if (holds && !TRAINING.matcher(key).matches()) {
      open.add(new Place(outer, key, value, outer.depth + 1));
    }
  }

  /** Else a quantised weight would be missing without a word. */
  private static void refuseUnread(Map<?, ?> parts) throws FormatException {
    for (var part : parts.entrySet()) {
      if (part.getValue() instanceof Foreign made
          && made.type() instanceof Pickle.Global type
          && type.name().startsWith("_rebuild_")) {
        throw new FormatException(
            "its '%s' is made by %s, which is not read: save it as a plain dense tensor"
                .formatted(part.getKey(), type));
      }
    }
  }

  /** Keys that lead to it, with dots; empty for the outermost dictionary. */
  String path() {
    return place.path();
  }

  /** Whether these are averages of weights over the training. */
  boolean isAveraged() {
    return AVERAGED.matcher(path()).matches();
  }

  /** Whether these are single tensors around a larger dictionary, such as a counted step. */
  private boolean isAround(List<StateDict> others) {
    return others.stream()
        .anyMatch(
            other ->
                other != this && other.tensors.size() > tensors.size() && other.place.isIn(place));
  }
}
