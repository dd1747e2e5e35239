"""The extended Tofts model of contrast uptake, fitted voxel by voxel.

C(t) = vp Cp(t) + Ktrans integral of Cp(s) exp(-(t - s) Ktrans / ve) ds (Tofts and others 1999, Journal of Magnetic
Resonance Imaging 10:223), with the plasma's concentration Cp taken as linear between its samples, for which the
integral is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from TwinCore import InvalidInput

FEWEST_FRAMES = 8
"""Of a curve whose three parameters are to be told apart."""

_PARKER = (0.809, 0.17046, 0.0563, 0.330, 0.365, 0.132)
_PARKER_TAIL = (1.050, 0.1685, 38.078, 0.483)

_MOST_STEPS = 60
_STARTS = np.geomspace(0.02, 20.0, 13)
"""Rates kep, per minute, of which the best is where the iteration begins."""
_FASTEST, _SLOWEST = 100.0, 1e-4


@dataclass(frozen=True, eq=False)
class ToftsFit:
    """Parameters of each curve, with the standard deviations that the residuals speak for; arrays, shape (n,).

    Parameters
    ----------
    ktrans, ktrans_sd : array
        Transfer from plasma to tissue, per minute.
    ve, ve_sd : array
        Volume of the space between the cells, as a fraction.
    vp, vp_sd : array
        Volume of plasma, as a fraction.
    residual : array
        Root mean square, in the unit of the concentration.
    """

    ktrans: np.ndarray
    ve: np.ndarray
    vp: np.ndarray
    ktrans_sd: np.ndarray
    ve_sd: np.ndarray
    vp_sd: np.ndarray
    residual: np.ndarray


def parker_input(times_min, haematocrit: float = 0.42) -> np.ndarray:
    """The population's plasma concentration in mmol/L after a bolus of 0.1 mmol/kg.

    Parker and others 2006, Magnetic Resonance in Medicine 56:993, who give that of blood: it is divided by one less
    the haematocrit, which 0 leaves out.

    Parameters
    ----------
    times_min : array
        Minutes since the bolus arrived; before it there is none.
    haematocrit : float
    """
    t = np.asarray(times_min, float)
    a1, t1, s1, a2, t2, s2 = _PARKER
    alpha, beta, s, tau = _PARKER_TAIL
    root = np.sqrt(2 * np.pi)
    first = a1 / (s1 * root) * np.exp(-((t - t1) ** 2) / (2 * s1**2))
    second = a2 / (s2 * root) * np.exp(-((t - t2) ** 2) / (2 * s2**2))
    tail = alpha * np.exp(-beta * t) / (1 + np.exp(np.clip(-s * (t - tau), -700, 700)))
    return np.where(t >= 0, first + second + tail, 0.0) / (1.0 - haematocrit)


def spoiled_gradient_concentration(
    signal: np.ndarray, baseline: np.ndarray, t1_ms, repetition_ms: float, flip_degrees: float, relaxivity: float = 4.5
) -> np.ndarray:
    """Concentration in mmol/L of contrast agent from the signal of a spoiled gradient echo.

    Parameters
    ----------
    signal : array, shape (..., frames)
    baseline : array, shape (...)
        Signal before the contrast agent.
    t1_ms : float or array, shape (...)
        T1 before the contrast agent.
    repetition_ms, flip_degrees : float
        Of the sequence, whose echo time is short beside T2*.
    relaxivity : float
        Per second and mmol/L; 4.5 is usual at 1.5 T.

    Returns
    -------
    array, shape (..., frames)
        NaN where the signal is more than any concentration gives.
    """
    turn = np.deg2rad(flip_degrees)
    start = np.exp(-repetition_ms / np.asarray(t1_ms, float))
    per_signal = (1 - start) / (1 - start * np.cos(turn))  # of the equilibrium signal times the sine
    relative = np.asarray(signal, float) / np.asarray(baseline, float)[..., None] * per_signal[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        decay = (1 - relative) / (1 - relative * np.cos(turn))
        rate = -np.log(np.where(decay > 0, decay, np.nan)) / repetition_ms * 1000.0
    return (rate - 1000.0 / np.asarray(t1_ms, float)[..., None]) / relaxivity


def extended_tofts(times_min, plasma: np.ndarray, ktrans, ve, vp) -> np.ndarray:
    """Concentration in tissue, shape (n, frames), for parameters of shape (n,); `plasma` at the same times."""
    t, cp = _checked(times_min, plasma)
    k, v, p = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, float)) for x in (ktrans, ve, vp)))
    curves = np.empty((k.size, t.size))
    taken, slope = np.empty(t.size), np.empty(t.size)
    for n in range(k.size):
        _uptake(t, cp, k[n] / v[n], taken, slope)
        curves[n] = p[n] * cp + k[n] * taken
    return curves


def fit_extended_tofts(
    times_min, concentration: np.ndarray, plasma: np.ndarray, plasma_times_min: np.ndarray | None = None
) -> ToftsFit:
    """The parameters of each curve, by Levenberg-Marquardt with exact derivatives.

    Parameters
    ----------
    times_min : array, shape (frames,)
        Ascending.
    concentration : array, shape (n, frames)
        In tissue, mmol/L.
    plasma : array
        mmol/L, such as `parker_input`, or measured in an artery.
    plasma_times_min : array, optional
        When `plasma` was sampled, if not with the frames: finer, as a bolus passes between two slow frames unseen.

    Returns
    -------
    ToftsFit
        All at or above 0; ve and vp at most 1; zeros where a curve is not finite.

    Raises
    ------
    InvalidInput
        If times are not ascending, frames are fewer than 8, or the arrays do not belong together.
    """
    t, cp = _checked(times_min if plasma_times_min is None else plasma_times_min, plasma)
    frames, _ = _checked(times_min, np.zeros(np.shape(times_min)))
    curves = np.ascontiguousarray(concentration, float)
    if curves.ndim != 2 or curves.shape[1] != frames.size:
        raise InvalidInput(f"Concentrations of shape {curves.shape} do not belong to {frames.size} times.")
    if frames.size < FEWEST_FRAMES:
        raise InvalidInput(
            f"{frames.size} frames are too few to tell Ktrans, ve and vp apart: {FEWEST_FRAMES} or more are needed."
        )
    found = np.zeros((curves.shape[0], 7))
    fine = np.union1d(t, frames)
    _fit_all(fine, np.interp(fine, t, cp), np.searchsorted(fine, frames), curves, _STARTS, found)
    return ToftsFit(*found.T)


def _checked(times_min, plasma) -> tuple[np.ndarray, np.ndarray]:
    t, cp = np.asarray(times_min, float), np.asarray(plasma, float)
    if t.ndim != 1 or not np.isfinite(t).all() or (np.diff(t) <= 0).any():
        raise InvalidInput("The times of the frames must be ascending numbers, in minutes.")
    if cp.shape != t.shape or not np.isfinite(cp).all():
        raise InvalidInput("The plasma needs one finite concentration for each frame.")
    return t, cp


@njit(nogil=True, cache=True)
def _uptake(t, cp, k, taken, slope):
    """Integral of Cp(s) exp(-k (t - s)) ds, and its derivative by k, at each time."""
    taken[0], slope[0] = 0.0, 0.0
    for n in range(1, t.size):
        dt = t[n] - t[n - 1]
        x, rise = k * dt, (cp[n] - cp[n - 1]) / dt
        lost = np.exp(-x)
        if x > 1e-2:
            level = (1 - lost) / k
            ramp = (dt - level) / k
            level_k = (dt * lost - level) / k
            ramp_k = (-level_k - ramp) / k
        else:  # the same to fifth order, where the differences above would lose their digits
            level = dt * (1 - x / 2 + x**2 / 6 - x**3 / 24 + x**4 / 120)
            ramp = dt**2 * (0.5 - x / 6 + x**2 / 24 - x**3 / 120 + x**4 / 720)
            level_k = dt**2 * (-0.5 + x / 3 - x**2 / 8 + x**3 / 30 - x**4 / 144)
            ramp_k = dt**3 * (-1 / 6 + x / 12 - x**2 / 40 + x**3 / 180 - x**4 / 1008)
        taken[n] = lost * taken[n - 1] + cp[n - 1] * level + rise * ramp
        slope[n] = lost * (slope[n - 1] - dt * taken[n - 1]) + cp[n - 1] * level_k + rise * ramp_k


@njit(parallel=True, nogil=True, cache=True)
def _fit_all(t, cp, at, curves, starts, found):
    for n in prange(curves.shape[0]):
        if np.isfinite(curves[n]).all():
            _fit(t, cp, at, curves[n], starts, found[n])


@njit(nogil=True, cache=True)
def _fit(t, cp, at, curve, starts, found):
    """One curve, seen at some of the times: Ktrans, kep and vp, which are bounded, from the best of several kep."""
    taken, slope = np.empty(t.size), np.empty(t.size)
    now = _best_start(t, cp, at, curve, starts, taken, slope)
    error, normal, pull = _normal_equations(t, cp, at, curve, now, taken, slope)
    damping = 1e-3
    for _ in range(_MOST_STEPS):
        damped = normal.copy()
        for d in range(3):
            damped[d, d] += damping * normal[d, d] + 1e-30
        step = np.linalg.solve(damped, pull)
        tried = np.array(
            [
                max(now[0] + step[0], 0.0),
                min(max(now[1] + step[1], max(_SLOWEST, now[0] + step[0])), _FASTEST),
                min(max(now[2] + step[2], 0.0), 1.0),
            ]
        )
        lower, there, towards = _normal_equations(t, cp, at, curve, tried, taken, slope)
        if lower < error:
            small = error - lower <= 1e-12 * error
            now, error, normal, pull, damping = tried, lower, there, towards, max(damping / 5, 1e-12)
            if small:
                break
        else:
            damping *= 4
            if damping > 1e10:
                break
    ktrans, kep, vp = now
    spread = np.linalg.pinv(normal) * error / (at.size - 3)
    along = np.array([1 / kep, -ktrans / kep**2, 0.0])
    found[0], found[1], found[2] = ktrans, min(ktrans / kep, 1.0), vp
    found[3], found[4] = np.sqrt(max(spread[0, 0], 0.0)), np.sqrt(max(along @ spread @ along, 0.0))
    found[5], found[6] = np.sqrt(max(spread[2, 2], 0.0)), np.sqrt(error / at.size)


@njit(nogil=True, cache=True)
def _best_start(t, cp, at, curve, starts, taken, slope):
    """For each kep the best Ktrans and vp at or above zero, which are linear; the best of all."""
    best, least = np.array([0.0, starts[0], 0.0]), np.inf
    for kep in starts:
        _uptake(t, cp, kep, taken, slope)
        gone, there = taken[at], cp[at]
        aa, bb, ab, ay, by = gone @ gone, there @ there, gone @ there, gone @ curve, there @ curve
        both = aa * bb - ab * ab
        ktrans = (bb * ay - ab * by) / both if both > 1e-12 * aa * bb else ay / max(aa, 1e-300)
        vp = (aa * by - ab * ay) / both if both > 1e-12 * aa * bb else 0.0
        if vp < 0:
            ktrans, vp = ay / max(aa, 1e-300), 0.0
        if ktrans < 0:
            ktrans, vp = 0.0, max(by / max(bb, 1e-300), 0.0)
        ktrans, vp = min(ktrans, kep), min(vp, 1.0)
        left = curve - ktrans * gone - vp * there
        error = left @ left
        if error < least:
            least, best = error, np.array([ktrans, kep, vp])
    return best


@njit(nogil=True, cache=True)
def _normal_equations(t, cp, at, curve, now, taken, slope):
    """Sum of squares, J'J and J' residual."""
    _uptake(t, cp, now[1], taken, slope)
    error, normal, pull = 0.0, np.zeros((3, 3)), np.zeros(3)
    for n in range(at.size):
        m = at[n]
        row = (taken[m], now[0] * slope[m], cp[m])
        left = curve[n] - now[0] * taken[m] - now[2] * cp[m]
        error += left * left
        for p in range(3):
            pull[p] += row[p] * left
            for q in range(3):
                normal[p, q] += row[p] * row[q]
    return error, normal, pull
