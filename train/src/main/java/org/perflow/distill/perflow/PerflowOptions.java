package org.perflow.distill.perflow;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.distill.Distance;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PiecewiseFlow.Curve;
import org.perflow.flow.TeacherSolver;
import org.perflow.io.Overrides;

/**
 * Settings of a {@link PerflowObjective}. Immutable, valid once made; JSON by these names ({@link
 * Overrides}). In Java one starts from {@link #DEFAULTS}: {@code DEFAULTS.withWindows(8)}, or, for
 * settings that only go together, {@code DEFAULTS.with(o -> o.guidanceMode(FIXED).guidance(3))}.
 *
 * @param windows K, equal windows of time; a student needs at least K steps
 * @param curriculumWindows windows at the beginning of the run; 0 = {@code windows} all along
 * @param curriculumUntil part of the run (0..1) after which {@code windows} takes over
 * @param solvingSteps S, teacher evaluations in each window: as many steps of the solver, or half
 *     as many with {@link TeacherSolver#HEUN}, which takes even numbers only
 * @param solver how the teacher's ODE is solved
 * @param parameterization what the student predicts
 * @param matching in which quantity student and target are compared
 * @param distance how
 * @param huberC c of the pseudo-Huber distance
 * @param reweighting a weight by time, for {@link Distance#L2} only
 * @param guidanceMode whether the teacher's ODE is guided
 * @param guidance scale of the guidance, for {@link GuidanceMode#FIXED} and {@link
 *     GuidanceMode#MATCHED}
 * @param captionDropout part of the captions replaced by the empty one
 * @param mixedCaptions part of the captions that are put together from pieces of several: brings
 *     the student near its teacher on captions that the data does not hold; with {@code
 *     simulatedStarts} only, since no picture goes with them
 * @param discreteTimesteps points n of the time grid 1 - floor(u n)/n, which holds every window's
 *     start and not its end; a multiple of the windows; 0 = four a window; -1 = no grid, times are
 *     continuous as in the paper, and the student averages what neighbouring windows want of it
 *     where they meet
 * @param simulatedStarts start windows on the teacher's own trajectory from noise instead of on
 *     noised data: each drawn noise gives one chord in every window for the same S evaluations a
 *     chord
 * @param drawsPerChord times at which each chord is used in a batch: more train the student on
 *     fewer teacher evaluations
 * @param chordPool chords of earlier steps that are kept, to draw every batch from: {@code
 *     drawsPerChord} times of one chord then fall into different batches; 0 = none, each batch has
 *     chords of its own
 * @param path what the student follows inside a window: the chord, or the teacher's DDIM path, of
 *     one ε (phased Rectified Diffusion), which leaves a student for plain DDIM
 */
@RecordBuilder
public record PerflowOptions(
    int windows,
    int curriculumWindows,
    double curriculumUntil,
    int solvingSteps,
    TeacherSolver solver,
    Parameterization parameterization,
    Matching matching,
    Distance distance,
    double huberC,
    Reweighting reweighting,
    GuidanceMode guidanceMode,
    double guidance,
    double captionDropout,
    double mixedCaptions,
    int discreteTimesteps,
    boolean simulatedStarts,
    int drawsPerChord,
    int chordPool,
    Curve path)
    implements PerflowOptionsBuilder.With {

  /** {@code discreteTimesteps} of a run without a time grid. */
  public static final int CONTINUOUS = -1;

  private static final int PER_WINDOW = 4; // fewer fit K steps better, but 2 K steps worse

  /** What the loss compares. */
  public enum Matching {
    /** The network's output with what it should have been: the official losses. */
    OUTPUT,
    /** The slope dz/dt that the output stands for. */
    VELOCITY
  }

  /** Weight by time; the official scripts' names. */
  public enum Reweighting {
    NONE,
    /** 1/max(1-t, 0.1)/2.3. */
    RECIPROCAL,
    /** t_s / ((1+K)/(2K)), of mean 1. */
    RCP_WIN
  }

  /** Where classifier-free guidance happens. */
  public enum GuidanceMode {
    /** Not in training: the student is guided in sampling, like its teacher. */
    SYNC,
    /** In the teacher's ODE, by a fixed scale: the student is sampled with little or none. */
    FIXED,
    /**
     * In both, by the same scale: what the guided student says learns the guided teacher's chord,
     * and the student is sampled with that scale. It starts as the teacher's guided K-step DDIM and
     * keeps negative prompts; a step costs two evaluations of the student, in training too. Not in
     * the paper.
     */
    MATCHED
  }

  /** As the paper's authors publish it: four windows, eight DDIM steps of the teacher in each. */
  public static final PerflowOptions PUBLISHED =
      PerflowOptionsBuilder.builder()
          .windows(4)
          .curriculumWindows(0)
          .curriculumUntil(0)
          .solvingSteps(8)
          .solver(TeacherSolver.DDIM)
          .parameterization(Parameterization.DDIM_EPS)
          .matching(Matching.OUTPUT)
          .distance(Distance.L2)
          .huberC(1e-3)
          .reweighting(Reweighting.NONE)
          .guidanceMode(GuidanceMode.SYNC)
          .guidance(1.0)
          .captionDropout(0.1)
          .mixedCaptions(0)
          .discreteTimesteps(1000)
          .simulatedStarts(false)
          .drawsPerChord(1)
          .chordPool(0)
          .path(Curve.CHORD)
          .build();

  /** What our measurements choose (docs/comparison.md): where each is ahead, or half as costly. */
  public static final PerflowOptions DEFAULTS =
      PUBLISHED.with(
          o ->
              o.solver(TeacherSolver.DEIS_2)
                  .solvingSteps(4)
                  .matching(Matching.VELOCITY)
                  .discreteTimesteps(0));

  public PerflowOptions {
    require(windows > 0 && windows <= 500, "windows must lie between 1 and 500; got " + windows);
    require(
        curriculumWindows == 0 || curriculumWindows >= windows,
        "curriculumWindows must be 0 (off) or at least windows; got " + curriculumWindows);
    require(
        curriculumUntil >= 0 && curriculumUntil <= 1,
        "curriculumUntil is a part of the run, 0 to 1; got " + curriculumUntil);
    require(solvingSteps > 0, "solvingSteps must be 1 or more; got " + solvingSteps);
    solver.steps(solvingSteps);
    require(huberC > 0, "huberC must be above 0; got " + huberC);
    require(
        distance == Distance.L2 || reweighting == Reweighting.NONE,
        "reweighting goes with distance L2 only; got " + distance + " and " + reweighting);
    require(
        guidanceMode == GuidanceMode.SYNC ? guidance == 1 : guidance > 1,
        "guidance must be 1 with guidanceMode SYNC and above 1 with FIXED and MATCHED; got "
            + guidanceMode
            + " and "
            + guidance);
    require(
        captionDropout >= 0 && captionDropout < 1,
        "captionDropout is a probability below 1; got " + captionDropout);
    require(
        mixedCaptions >= 0 && mixedCaptions <= 1,
        "mixedCaptions is a part of the captions, 0 to 1; got " + mixedCaptions);
    require(
        mixedCaptions == 0 || simulatedStarts,
        "mixedCaptions have no pictures to start from; they need simulatedStarts");
    require(drawsPerChord > 0, "drawsPerChord must be 1 or more; got " + drawsPerChord);
    require(chordPool >= 0, "chordPool must be 0 (none) or more; got " + chordPool);
    require(
        chordPool == 0 || curriculumWindows == 0 || curriculumWindows == windows,
        "chordPool keeps chords of one number of windows; it does not go with curriculumWindows");
    path.require(parameterization);
    require(
        path == Curve.CHORD || discreteTimesteps != CONTINUOUS,
        "path DDIM goes over the teacher's noise levels and needs a time grid; got"
            + " discreteTimesteps -1");
    require(
        discreteTimesteps == CONTINUOUS
            || discreteTimesteps >= 0
                && discreteTimesteps % windows == 0
                && (curriculumWindows == 0 || discreteTimesteps % curriculumWindows == 0),
        "discreteTimesteps must be a multiple of the windows, so that the grid holds every window's"
            + " start; got "
            + discreteTimesteps
            + " for "
            + windows
            + " windows (0 is four a window, -1 is none)");
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  /** Windows when {@code progress} (0..1) of the run is done. */
  public int windowsAt(double progress) {
    return curriculumWindows > 0 && progress < curriculumUntil ? curriculumWindows : windows;
  }

  /** Points of the time grid for that many windows, or {@link #CONTINUOUS}. */
  public int gridPoints(int windowCount) {
    return discreteTimesteps != 0 ? discreteTimesteps : PER_WINDOW * windowCount;
  }
}
