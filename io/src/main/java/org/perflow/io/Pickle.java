package org.perflow.io;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;

/**
 * The stack machine of Python's pickles (opcodes as in CPython's {@code Lib/pickletools.py}), cut
 * down to plain data: a pickle may call only what the {@link Builder} allows, so that reading one
 * never runs code. Gives null, Boolean, Long, Double, String, byte[], List (also for tuples and
 * sets), Map (of the entries whose key is a string) and what the builder makes. One thread.
 */
final class Pickle {
  private static final Object MARK = new Object();

  private final ByteBuffer in;
  private final Builder builder;
  private final Deque<Object> stack = new ArrayDeque<>();
  private final Map<Integer, Object> memo = new HashMap<>();

  /** A class or function of Python, by name. */
  record Global(String module, String name) {
    @Override
    public String toString() {
      return module + "." + name;
    }
  }

  /** Python's None, as a deque holds no null. */
  private enum None {
    NONE
  }

  /** What a pickle may make beyond plain data. */
  interface Builder {
    /** Whether a pickle may name {@code global} at all. */
    boolean allows(Global global);

    /** The result of {@code global(*arguments)}. */
    Object call(Global global, List<?> arguments) throws FormatException;

    /** The object that a persistent id stands for. */
    Object persistent(@Nullable Object id) throws FormatException;
  }

  private Pickle(ByteBuffer in, Builder builder) {
    this.in = in.order(ByteOrder.LITTLE_ENDIAN);
    this.builder = builder;
  }

  /**
   * Reads one pickle from the position of {@code in}, which then stands behind it.
   *
   * @throws FormatException naming a global that is not allowed, or where the pickle is damaged
   */
  static @Nullable Object read(ByteBuffer in, Builder builder) throws FormatException {
    try {
      return unwrap(new Pickle(in, builder).run());
    } catch (BufferUnderflowException e) {
      throw new FormatException("the pickle ends too early: copy or download the file again", e);
    } catch (ClassCastException | NoSuchElementException e) {
      throw new FormatException("the pickle is damaged near byte " + in.position(), e);
    }
  }

  private static @Nullable Object unwrap(Object value) {
    return value == None.NONE ? null : value;
  }

  private Object run() throws FormatException {
    while (true) {
      int code = in.get() & 0xff;
      if (code == '.') {
        return stack.pop();
      }
      if (!data(code) && !container(code) && !object(code)) {
        throw new FormatException(
            "the pickle uses opcode 0x%02x at byte %d, which is not read"
                .formatted(code, in.position() - 1));
      }
    }
  }

  // ---------------------------------------------------------------- plain data

  private boolean data(int code) throws FormatException {
    switch (code) {
      case 0x80 -> in.get(); // protocol
      case 0x95 -> in.getLong(); // frame
      case 'N' -> stack.push(None.NONE);
      case 0x88 -> stack.push(true);
      case 0x89 -> stack.push(false);
      case 'J' -> stack.push((long) in.getInt());
      case 'K' -> stack.push((long) (in.get() & 0xff));
      case 'M' -> stack.push((long) (in.getShort() & 0xffff));
      case 0x8a -> stack.push(integer(in.get() & 0xff));
      case 'G' -> stack.push(Double.longBitsToDouble(Long.reverseBytes(in.getLong())));
      case 'X' -> stack.push(text(in.getInt(), StandardCharsets.UTF_8));
      case 0x8c -> stack.push(text(in.get() & 0xff, StandardCharsets.UTF_8));
      case 'T' -> stack.push(text(in.getInt(), StandardCharsets.ISO_8859_1)); // Python 2
      case 'U' -> stack.push(text(in.get() & 0xff, StandardCharsets.ISO_8859_1));
      case 'B' -> stack.push(bytes(in.getInt()));
      case 'C' -> stack.push(bytes(in.get() & 0xff));
      default -> {
        return false;
      }
    }
    return true;
  }

  /** Little-endian two's complement; what does not fit becomes plain 0: no size is that large. */
  private long integer(int length) throws FormatException {
    byte[] bytes = bytes(length);
    if (length > Long.BYTES) {
      return 0;
    }
    long value = length > 0 && bytes[length - 1] < 0 ? -1 : 0;
    for (int i = length - 1; i >= 0; i--) {
      value = value << 8 | (bytes[i] & 0xff);
    }
    return value;
  }

  private String text(int length, Charset charset) throws FormatException {
    return new String(bytes(length), charset);
  }

  private byte[] bytes(int length) throws FormatException {
    if (length < 0 || length > in.remaining()) {
      throw new FormatException(
          "the pickle announces %s bytes, but only %d are left: it is damaged"
              .formatted(Integer.toUnsignedString(length), in.remaining()));
    }
    byte[] bytes = new byte[length];
    in.get(bytes);
    return bytes;
  }

  // ---------------------------------------------------------------- containers

  private boolean container(int code) {
    switch (code) {
      case '(' -> stack.push(MARK);
      case ')', ']', 0x8f -> stack.push(new ArrayList<>());
      case '}' -> stack.push(new LinkedHashMap<>());
      case 0x85 -> stack.push(top(1));
      case 0x86 -> stack.push(top(2));
      case 0x87 -> stack.push(top(3));
      case 't', 'l' -> stack.push(sinceMark());
      case 'd' -> stack.push(put(new LinkedHashMap<>(), sinceMark()));
      case 'a' -> {
        List<Object> item = top(1);
        list().addAll(item);
      }
      case 'e', 0x90 -> {
        List<Object> items = sinceMark();
        list().addAll(items);
      }
      case 's' -> {
        List<Object> pair = top(2);
        put(map(), pair);
      }
      case 'u' -> {
        List<Object> pairs = sinceMark();
        put(map(), pairs);
      }
      case '0' -> stack.pop();
      case '1' -> sinceMark();
      case 'q' -> memo.put(in.get() & 0xff, stack.element());
      case 'r' -> memo.put(in.getInt(), stack.element());
      case 0x94 -> memo.put(memo.size(), stack.element());
      case 'h' -> stack.push(recall(in.get() & 0xff));
      case 'j' -> stack.push(recall(in.getInt()));
      default -> {
        return false;
      }
    }
    return true;
  }

  private Object recall(int index) {
    Object value = memo.get(index);
    if (value == null) {
      throw new NoSuchElementException("memo " + index);
    }
    return value;
  }

  private List<Object> top(int count) {
    List<Object> items = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      items.add(0, stack.pop());
    }
    return items;
  }

  private List<Object> sinceMark() {
    List<Object> items = new ArrayList<>();
    for (Object item = stack.pop(); item != MARK; item = stack.pop()) {
      items.add(item);
    }
    Collections.reverse(items);
    return items;
  }

  @SuppressWarnings("unchecked") // only this class makes lists
  private List<Object> list() {
    return (List<Object>) stack.element();
  }

  @SuppressWarnings("unchecked") // only this class makes maps
  private Map<String, Object> map() {
    return (Map<String, Object>) stack.element();
  }

  private static Map<String, Object> put(Map<String, Object> map, List<Object> pairs) {
    for (int i = 0; i + 1 < pairs.size(); i += 2) {
      if (pairs.get(i) instanceof String key) { // optimisers count from 0: not for us
        map.put(key, pairs.get(i + 1));
      }
    }
    return map;
  }

  // ---------------------------------------------------------------- objects

  private boolean object(int code) throws FormatException {
    switch (code) {
      case 'c' -> stack.push(global(line(), line()));
      case 0x93 -> {
        List<Object> names = top(2);
        stack.push(global((String) names.get(0), (String) names.get(1)));
      }
      case 'Q' -> stack.push(builder.persistent(unwrap(stack.pop())));
      case 'R' -> {
        List<?> arguments = (List<?>) stack.pop();
        Global global = (Global) stack.pop();
        stack.push(builder.call(global, arguments.stream().map(Pickle::plain).toList()));
      }
      case 'b' -> stack.pop(); // attributes, such as a state dict's _metadata: not for us
      default -> {
        return false;
      }
    }
    return true;
  }

  /** Streams hold no null: the builder sees None as an empty list, as no argument of ours is. */
  private static Object plain(Object value) {
    return value == None.NONE ? List.of() : value;
  }

  private String line() {
    StringBuilder text = new StringBuilder();
    for (char c = (char) (in.get() & 0xff); c != '\n'; c = (char) (in.get() & 0xff)) {
      text.append(c);
    }
    return text.toString();
  }

  private Global global(String module, String name) throws FormatException {
    Global global = new Global(module, name);
    if (!builder.allows(global)) {
      throw new FormatException(
          "its pickle asks for %s, and only tensors are read: ask for the safetensors version, or convert it where you trust it"
              .formatted(global));
    }
    return global;
  }
}
