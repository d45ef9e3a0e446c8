// The end of the network, a warp for each row: its loss, its metrics, and the gradient that goes back.

struct Goal {
    const float *y, *weight;  // of all rows: targets, and what each row weighs or null
    const int* order;
    long long outputs, classes;   // of a row; where targets are class indices, how many classes there are, else 0
    long long loss, from_logits;  // whether the loss is given what goes into the last activation, or what comes out
    long long activation;         // the last one
    const int* metrics;
    long long metric_count;
    float *p, *dz;     // of the batch: the prediction, where the loss is from logits; the gradient, or null
    double* partials;  // (blocks, 1 + metric_count): each block's sums of the loss and the metrics
    double* sums;      // (epochs, sums_size), as contract.py says
    long long sums_size;
};

// The targets of one row.
struct Target {
    const float* y;
    int classes;

    __device__ float at(int k) const { return classes ? y[0] == k : y[k]; }
};

__device__ float clip(float p) {  // as np.clip: NaN stays
    constexpr float low = (float)PROBABILITY_FLOOR, high = (float)(1 - PROBABILITY_FLOOR);
    return p < low ? low : p > high ? high : p;
}

// --- losses: the value, and the gradient by what the loss was given -----------------------------------------------

struct Loss {
    float value, slope;
};

// Those that are the mean over a row's outputs; both are still to be divided by their number.
__device__ Loss loss_of(int loss, float y, float p) {
    float d = p - y, clipped = clip(p), one = 1;
    switch (loss) {
        case MEAN_SQUARED_ERROR: return {d * d, 2 * d};
        case MEAN_ABSOLUTE_ERROR: return {fabsf(d), d > 0 ? one : d < 0 ? -one : d};
        case BINARY_CROSSENTROPY:  // where p was clipped, moving it changes nothing
            return {-y * logf(clipped) - (1 - y) * log1pf(-clipped),
                    (clipped - y) / (clipped * (1 - clipped)) * (p == clipped)};
        default:  // from logits: log(1 + e^z) - y z, in the form that neither overflows nor cancels
            return {fmaxf(p, 0) - y * p + log1pf(expf(-fabsf(p))), sigmoid(p) - y};
    }
}

// From logits: y log(sum of e^z / e^z), and softmax(z) sum(y) - y. ``logit(k)`` gives z, ``pass`` takes the gradient.
template <typename Logit, typename Pass>
__device__ float categorical_from_logits(const Target& target, int width, Logit logit, Pass pass) {
    float largest = minus_infinity(), total = 0, all = 0, value = 0;
    for (int k = lane(); k < width; k += LANES) largest = is_larger(logit(k), largest) ? logit(k) : largest;
    largest = largest_of_lanes(largest);
    for (int k = lane(); k < width; k += LANES) total += expf(logit(k) - largest), all += target.at(k);
    total = sum_of_lanes(total), all = sum_of_lanes(all);
    float log_total = logf(total);
    for (int k = lane(); k < width; k += LANES) {
        value += target.at(k) * (log_total - (logit(k) - largest));
        pass(k, expf(logit(k) - largest) / total * all - target.at(k));
    }
    return sum_of_lanes(value);
}

// From probabilities, which are first made to add up to 1.
template <typename Pass>
__device__ float categorical(const Target& target, const float* p, int width, Pass pass) {
    float total = 0, all = 0, value = 0;
    for (int k = lane(); k < width; k += LANES) total += p[k];
    total = sum_of_lanes(total);
    auto moves = [&](float share) { return !(share < clip(share) || share > clip(share)); };  // not clipped, or NaN
    for (int k = lane(); k < width; k += LANES) {
        float share = p[k] / total;
        value -= target.at(k) * logf(clip(share));
        all += target.at(k) * moves(share);
    }
    value = sum_of_lanes(value), all = sum_of_lanes(all);
    for (int k = lane(); k < width; k += LANES) {
        float share = p[k] / total;
        pass(k, (all - (moves(share) ? target.at(k) / share : 0)) / total);
    }
    return value;
}

// The loss of a row. The gradient, times ``scale``, goes to dz, unless that is null.
__device__ float loss_of_row(int loss, const Target& target, const float* given, float* dz, int width, float scale) {
    auto pass = [&](int k, float slope) {
        if (dz != nullptr) dz[k] = slope * scale;
    };
    if (loss == CATEGORICAL_CROSSENTROPY) return categorical(target, given, width, pass);
    if (loss == CATEGORICAL_CROSSENTROPY_FROM_LOGITS)
        return categorical_from_logits(target, width, [&](int k) { return given[k]; }, pass);
    if (loss == SPARSE_CATEGORICAL_CROSSENTROPY)  // the logarithms of probabilities are logits
        return categorical_from_logits(
            target, width, [&](int k) { return logf(clip(given[k])); },
            [&](int k, float slope) { pass(k, slope / clip(given[k]) * (given[k] == clip(given[k]))); });
    float value = 0;
    for (int k = lane(); k < width; k += LANES) {
        Loss found = loss_of(loss, target.at(k), given[k]);
        value += found.value;
        pass(k, found.slope / width);
    }
    return sum_of_lanes(value) / width;
}

// --- metrics ------------------------------------------------------------------------------------------------------

__device__ float metric_of_row(int metric, const Target& target, const float* p, int width) {
    if (metric == CATEGORICAL_ACCURACY) {
        int right = target.classes ? (int)target.y[0] : place_of_largest(target.y, width);
        return place_of_largest(p, width) == right;
    }
    float value = 0;
    for (int k = lane(); k < width; k += LANES) {
        float d = p[k] - target.at(k);
        value += metric == BINARY_ACCURACY ? (p[k] > 0.5f) == target.at(k) : metric == ABSOLUTE_ERROR ? fabsf(d) : d * d;
    }
    return sum_of_lanes(value) / width;
}

// The counts from which the area under the ROC curve is made. Rows that meet in a bin add to it one after the other;
// since they add whole numbers, the order does not matter.
__device__ void count_scores(const Target& target, const float* p, int width, double* counts) {
    for (int k = lane(); k < width; k += LANES) {
        float bin = ceilf(p[k] * AUC_BINS) - 1;
        int place = bin > 0 ? (int)fminf(bin, AUC_BINS - 1) : 0;  // NaN counts as 0
        atomicAdd(&counts[(int)target.at(k) * AUC_BINS + place], 1.0);
    }
}

// --- the rows of the batch ----------------------------------------------------------------------------------------

constexpr int HEAD_WARPS = 4, MOST_METRICS = 7;

struct HeadSums {
    double part[HEAD_WARPS][1 + MOST_METRICS];
};

// Every HEAD_WARPS-th row of the block's share; ``before(r)`` makes what the loss is given, ``after(r)`` uses dz.
// The block's sums are added up in the same order every time, so that a run can be repeated to the bit.
template <typename Before, typename After>
__device__ void head_rows(const Goal& goal, const float* given, const Place& place, Before before, After after) {
    auto& part = shared<HeadSums>().part;
    int rows = rows_of(place), width = goal.outputs, columns = 1 + goal.metric_count;
    const int* batch = batch_of(goal.order, place);
    if (lane() <= MOST_METRICS) part[warp()][lane()] = 0;
    __syncthreads();
    for (int r = blockIdx.x * HEAD_WARPS + warp(); r < rows; r += gridDim.x * HEAD_WARPS) {
        before(r);
        long long row = batch == nullptr ? r : batch[r];
        Target target{goal.y + row * (goal.classes ? 1 : width), (int)goal.classes};
        float weight = goal.weight == nullptr ? 1 : goal.weight[row];
        const float* given_row = given + (long long)r * width;
        float* dz_row = goal.dz == nullptr ? nullptr : goal.dz + (long long)r * width;
        float loss = loss_of_row(goal.loss, target, given_row, dz_row, width, weight / rows);
        if (lane() == 0) part[warp()][0] += (double)(loss * weight);

        const float* p = given_row;
        if (goal.from_logits && goal.metric_count > 0) {
            float* made = goal.p + (long long)r * width;
            if (goal.activation == SOFTMAX)
                softmax_row(given_row, made, width);
            else
                for (int k = lane(); k < width; k += LANES) made[k] = activate(goal.activation, given_row[k]);
            p = made;
        } else if (!goal.from_logits && dz_row != nullptr) {
            __syncwarp();
            if (goal.activation == SOFTMAX)
                softmax_backward_row(dz_row, given_row, dz_row, width);
            else
                for (int k = lane(); k < width; k += LANES) dz_row[k] *= slope(goal.activation, given_row[k]);
        }
        __syncwarp();  // what one lane has written, the others may read from here on
        after(r);
        double* counts = goal.sums + place.epoch * goal.sums_size + FIRST_METRIC;
        for (int m = 0; m < goal.metric_count; m++) {
            if (goal.metrics[m] == AUC) {
                count_scores(target, p, width, counts);
                counts += 2 * AUC_BINS;
            } else {
                float value = metric_of_row(goal.metrics[m], target, p, width);
                if (lane() == 0) part[warp()][1 + m] += (double)value;
                counts += 1;
            }
        }
    }
    __syncthreads();
    if (threadIdx.x < columns) {
        double total = 0;
        for (int w = 0; w < HEAD_WARPS; w++) total += part[w][threadIdx.x];
        goal.partials[(long long)blockIdx.x * columns + threadIdx.x] = total;
    }
    __syncthreads();
}

__global__ void __launch_bounds__(HEAD_WARPS * LANES, 1) head(const float* given, Goal goal, const Place* place) {
    head_rows(goal, given, *place, [](int) {}, [](int) {});
}

// --- a narrow last layer is done in the same go -------------------------------------------------------------------

// z = x W + b for one row: a unit at a time, the lanes share the inputs.
__device__ void narrow_forward(const float* x, const float* W, const float* b, float* z, int inputs, int units) {
    for (int u = 0; u < units; u++) {
        float sum = 0;
        for (int k = lane(); k < inputs; k += LANES) sum += x[k] * W[k * units + u];
        sum = sum_of_lanes(sum);
        if (lane() == 0) z[u] = sum + b[u];
    }
    __syncwarp();
}

// dx = (dz W') mask slope for one row, whose numbers begin at ``first``; see backward_x_tile.
__device__ void narrow_backward(const float* dz, const float* W, const float* y, float* dx, int inputs, int units,
                                int activation, const Dropout& dropout, long long step, long long first) {
    for (int k = lane(); k < inputs; k += LANES) {
        float sum = 0;
        for (int u = 0; u < units; u++) sum += dz[u] * W[k * units + u];
        float slope_there = y == nullptr ? 1 : slope(activation, y[first + k]);
        dx[first + k] = sum * mask(dropout, step, first + k) * slope_there;
    }
}

struct LastLayer {
    const float* x;    // what it is given, through the order where it is the only layer
    const int* order;
    const float *W, *b;
    float* z;          // what it puts out
    float* activated;  // what its activation makes of that, where the loss is given that; else null
    const float* y;    // what comes before it, as in backward_x; and where the gradient by x goes, or null
    float* dx;
    long long inputs, units, activation;
    Dropout dropout;
};

__device__ void last_layer_rows(const LastLayer& layer, const Goal& goal, const Place& place) {
    const int* batch = batch_of(layer.order, place);
    float* made = layer.activated;
    auto before = [&](int r) {
        const float* x = layer.x + (long long)(batch == nullptr ? r : batch[r]) * layer.inputs;
        float* z = layer.z + (long long)r * layer.units;
        narrow_forward(x, layer.W, layer.b, z, layer.inputs, layer.units);
        if (made == nullptr) return;
        if (goal.activation == SOFTMAX)
            softmax_row(z, made + r * layer.units, layer.units);
        else
            for (int u = lane(); u < layer.units; u += LANES) made[r * layer.units + u] = activate(goal.activation, z[u]);
        __syncwarp();
    };
    auto after = [&](int r) {
        if (layer.dx == nullptr || goal.dz == nullptr) return;
        narrow_backward(goal.dz + (long long)r * layer.units, layer.W, layer.y, layer.dx, layer.inputs, layer.units,
                        layer.activation, layer.dropout, place.step, (long long)r * layer.inputs);
    };
    head_rows(goal, made == nullptr ? layer.z : made, place, before, after);
}

__global__ void __launch_bounds__(HEAD_WARPS * LANES, 1) last_layer(LastLayer layer, Goal goal, const Place* place) {
    last_layer_rows(layer, goal, *place);
}

// --- what the batch adds to the sums of its epoch -----------------------------------------------------------------

// All blocks' partial sums, and the penalties on the weights: a warp for each column.
__device__ void add_totals(const Goal& goal, int blocks, const double* penalties, int penalty_count,
                           const Place& place) {
    int rows = rows_of(place), columns = 1 + goal.metric_count;
    if (rows == 0) return;
    double* sums = goal.sums + place.epoch * goal.sums_size;
    for (int column = warp(); column < columns; column += blockDim.x / LANES) {
        double total = 0, penalty = 0;
        for (int block = lane(); block < blocks; block += LANES) total += goal.partials[block * columns + column];
        for (int i = lane(); column == 0 && i < penalty_count; i += LANES) penalty += penalties[i];
        total = sum_of_lanes(total), penalty = sum_of_lanes(penalty);
        if (lane() > 0) continue;
        if (column == 0) {
            sums[ROWS] += rows;
            sums[LOSS] += total + rows * penalty;
        } else if (goal.metrics[column - 1] != AUC) {
            int at = FIRST_METRIC;  // a metric has one number, the area under the curve two histograms
            for (int m = 0; m < column - 1; m++) at += goal.metrics[m] == AUC ? 2 * AUC_BINS : 1;
            sums[at] += total;
        }
    }
}

__global__ void totals(Goal goal, int blocks, const double* penalties, int penalty_count, const Place* place) {
    add_totals(goal, blocks, penalties, penalty_count, *place);
}
